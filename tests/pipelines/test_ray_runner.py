"""The Ray runner does what the local one does, byte for byte, and outlives its workers."""

import json
import os
import re
import signal
import threading
import time
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from mvcap.commits import RENDER
from mvcap.errors import DeviceFaultError, ModelUnavailableError, UsageError
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.ledger import MAX_LOSSES
from pipelines.runners.local import LocalRunner
from pipelines.stages import Stage
from pipelines.suspects import MAX_LOSSES_ALONE
from pipelines.todo import Request

pytestmark = pytest.mark.ray

ray_runner = pytest.importorskip("pipelines.runners.ray")
ray_connection = pytest.importorskip("pipelines.runners.ray_connection")


@pytest.fixture(scope="module", autouse=True)
def one_ray():
    """One embedded Ray for the whole file; the runner uses a connection that stands."""
    with ray_connection.connected(None):
        yield


def data_files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "data").glob("*.parquet"))}


def test_prometheus_finds_what_was_committed_at_the_endpoint_of_ray(models, fake_config, tmp_path):
    """The first test of this Ray: counts of others would arrive up to ten seconds after their end."""
    before = scraped()
    config = fake_config(models("a/one", "a/two", "b/three"), render__options__fail={"three": "crash"})
    build(config, Request(tmp_path / "out"), ray_runner.RayRunner(), print)
    wanted = {
        ("ray_mvcap_views_total", "render", ""): 6,
        ("ray_mvcap_views_total", "caption", ""): 6,
        ("ray_mvcap_shards_total", "render", ""): 2,
        ("ray_mvcap_shards_total", "caption", ""): 2,
        ("ray_mvcap_failures_total", "render", "crash"): 1,
        ("ray_mvcap_bytes_total", "caption", ""): sum(map(len, data_files(tmp_path / "out").values())),
    }
    deadline = time.monotonic() + 60  # a process tells its node's agent every ten seconds
    while (found := {key: scraped().get(key, 0) - before.get(key, 0) for key in wanted}) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(1)
    assert scraped()["ray_mvcap_shard_seconds_total", "render", ""] > 0
    assert {line["stage"] for line in logged(tmp_path / "out")} == {"render", "caption"}


def test_both_runners_write_the_same_bytes(models, fake_config, tmp_path):
    config = fake_config(models(*(f"things/{index}" for index in range(7))), run__render_workers=2)
    build(config, Request(tmp_path / "local"), LocalRunner(), print)
    build(config, Request(tmp_path / "ray"), ray_runner.RayRunner(), print)
    assert data_files(tmp_path / "ray") == data_files(tmp_path / "local")
    assert verify_dataset(tmp_path / "ray") == []


@pytest.mark.parametrize("victim", ["ShardActor", "Board"])
def test_a_killed_actor_costs_nothing_but_time(models, fake_config, tmp_path, victim):
    config = fake_config(
        models(*(f"things/{index}" for index in range(6))), render__options__view_seconds=0.2
    )
    killed = threading.Thread(target=_kill_one_actor, args=(victim, tmp_path / "out"))
    killed.start()
    outcome = build(config, Request(tmp_path / "out"), ray_runner.RayRunner(), print)
    killed.join()
    assert (outcome.views, outcome.failures) == (18, ())
    assert verify_dataset(tmp_path / "out") == []


def _kill_one_actor(name: str, out: Path) -> None:
    """SIGKILL an actor once the first shard is committed and the second is on its way."""
    deadline = time.monotonic() + 60
    while not list(out.glob(f"_mvcap/commits/{RENDER}/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    actors = [process for process in psutil.Process().children(recursive=True) if _is_actor(process, name)]
    assert actors, f"no {name} was found to kill"
    os.kill(actors[0].pid, signal.SIGKILL)


def _is_actor(process: psutil.Process, name: str) -> bool:
    return any(part.startswith(f"ray::{name}") for part in process.cmdline())


def test_a_fault_of_a_device_restarts_the_worker_and_blames_nobody(
    models, fake_config, tmp_path, monkeypatch
):
    log = tmp_path / "pids"

    class FaultyAtFirst:
        made_by: ClassVar[dict[str, str]] = {"name": "faulty"}
        busy_s = None

        def __call__(self, records):
            first = not log.exists()
            with log.open("a") as file:
                file.write(f"{os.getpid()}\n")
            if first:
                raise DeviceFaultError("CUDA error: an illegal memory access was encountered")
            yield from records

    monkeypatch.setattr(
        "pipelines.captioning.caption_stage",
        lambda config, settings, vocabulary=None: Stage(
            "caption", settings, lambda: nullcontext(FaultyAtFirst()), workers=1
        ),
    )
    outcome = build(fake_config(models("a")), Request(tmp_path / "out"), ray_runner.RayRunner(), print)
    assert (outcome.views, outcome.failures) == (3, ())
    faulty, healthy = log.read_text().split()
    assert faulty != healthy
    assert not psutil.pid_exists(int(faulty))


def test_an_object_that_takes_down_its_workers_is_found_and_the_others_complete(
    models, fake_config, tmp_path
):
    folder = models(*(f"things/{name}" for name in ("a", "b", "c", "evil")))
    config = fake_config(
        folder, plan__objects_per_shard=4, render__options__kill="{evil: SIGSEGV}", run__render_workers=2
    )
    outcome = build(config, Request(tmp_path / "out"), ray_runner.RayRunner(), print)
    (failure,) = outcome.failures
    assert (failure.reason, failure.stage, "evil" in failure.uid) == ("crash", "render", True)
    assert failure.attempts == MAX_LOSSES + MAX_LOSSES_ALONE
    assert f"died {failure.attempts} times over it" in failure.message
    assert "\n" not in failure.message
    assert (outcome.done, outcome.views, outcome.complete) == (3, 9, True)
    assert verify_dataset(tmp_path / "out") == []


def _no_such_model():
    raise ModelUnavailableError("there is no such model")


def scraped() -> dict[tuple[str, str, str], float]:
    """Our counters at the endpoint of this node, by name, stage and reason."""
    import ray

    (node,) = [node for node in ray.nodes() if node["Alive"]]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line.startswith("ray_mvcap_")]
    counters: dict[tuple[str, str, str], float] = {}
    for line in lines:
        name, labels, value = re.fullmatch(r"(\w+)\{(.*)\} (\S+)", line).groups()
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        key = (name, told.get("stage", ""), told.get("reason", ""))
        counters[key] = counters.get(key, 0) + float(value)
    return counters


def logged(out: Path) -> list[dict]:
    """What the actors wrote into their logs."""
    return [
        json.loads(line)
        for path in (out / "_mvcap/logs").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]


def test_an_error_of_a_worker_reaches_the_driver_as_it_is(models, fake_config, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "pipelines.captioning.caption_stage",
        lambda config, settings, vocabulary=None: Stage("caption", settings, _no_such_model),
    )
    with pytest.raises(UsageError, match="there is no such model"):
        build(fake_config(models("a")), Request(tmp_path / "out"), ray_runner.RayRunner(), print)
