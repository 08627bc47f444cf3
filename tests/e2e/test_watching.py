"""`mvcap status --watch` beside a build that runs."""

import json
import sys
from pathlib import Path

import pytest

MVCAP = Path(sys.executable).with_name("mvcap")
SLOW = (
    *("--runner", "local", "--set", "render.backend=fake", "--set", "render.options.view_seconds=0.1"),
    *("--set", "render.views=4", "--set", "render.resolution=32", "--set", "captions.backend=template"),
    *("--set", "plan.objects_per_shard=2", "--set", "run.render_workers=1"),
)


@pytest.mark.slow
def test_a_build_is_watched_to_its_end(start_mvcap, mvcap, models, tmp_path):
    out = tmp_path / "out"
    folder = models(*(f"things/{index}" for index in range(12)))
    build = start_mvcap("build-all", "--models", folder, "--out", out, *SLOW)
    while not (out / "_mvcap/plan.json").exists() and build.poll() is None:
        pass
    watched = mvcap("status", out, "--watch", "--every", "0.3", "--json", timeout=120)
    assert (watched.returncode, build.wait(60)) == (0, 0)
    states = [json.loads(line) for line in watched.stdout.splitlines()]
    done = [state["stages"]["render"]["shards_done"] for state in states]
    assert done == sorted(done)
    assert done[-1] == states[-1]["shards"]
    assert states[-1]["complete"]
    assert states[-1]["at_work"] == []
    during = [state for state in states if state["at_work"]]
    assert {driver["pid"] for state in during for driver in state["at_work"]} == {build.pid}
    assert any(state["stages"]["render"]["shards_running"] == 1 for state in during)
    assert any(state["stages"]["render"]["seconds_left"] for state in during)
