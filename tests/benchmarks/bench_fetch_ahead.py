"""What fetching ahead of the renderer gains: every model takes as long to arrive as to render.

Both waits are emulated, by a hub on this machine that answers late and by the fake renderer, so that the
figure is about the overlap alone. The ideal is half the time of one after the other.
"""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mvcap import plugins, recipes
from mvcap.config import Config
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

OBJECTS, WAIT_S = 24, 0.25


def late(handler: Any, path: Path) -> bool:
    time.sleep(WAIT_S)
    return False


def configured(cache: Path) -> Config:
    settings = {
        "sources": [{"source": "objaverse", "options": {"path": str(cache)}}],
        "plan": {"objects_per_shard": OBJECTS, "splits": {"train": 1.0}},
        "render": {
            "backend": "fake",
            "views": 1,
            "resolution": 32,
            "options": {"view_seconds": WAIT_S},
        },
        "run": {"render_workers": 1},
    }
    return recipes.build_config(settings, plugins.options_model, captions=False)


def timed_build(config: Config, out: Path) -> float:
    begun = time.monotonic()
    outcome = build(config, Request(out, caption=False), LocalRunner(), lambda _: None)
    assert outcome.views == OBJECTS
    return time.monotonic() - begun


def test_fetching_ahead_hides_the_wait_for_models(
    hub: Any, objaverse_double: SimpleNamespace, tmp_path: Path
):
    things = [objaverse_double.Thing(f"{n:032x}", lvis=("chair",)) for n in range(OBJECTS)]
    objaverse_double.write(hub.root / "datasets" / objaverse_double.DATASET, things)
    hub.fail("GET", ".glb", *[late] * OBJECTS)
    ahead_s = timed_build(configured(tmp_path / "cache"), tmp_path / "ahead")
    render_s = timed_build(configured(tmp_path / "cache"), tmp_path / "there")
    one_after_the_other_s = render_s + OBJECTS * WAIT_S
    print(
        f"\n{OBJECTS} models: {ahead_s:.1f} s fetched ahead, {render_s:.1f} s where all are there, "
        f"{one_after_the_other_s:.1f} s one after the other"
    )
