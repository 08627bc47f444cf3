"""What the runners cost beside the rendering itself: a bare `multiprocessing.Pool`, local threads, and Ray.

    .venv/bin/pytest -s tests/benchmarks/bench_pipeline_overhead.py

BENCH_OBJECTS, BENCH_VIEWS and BENCH_ROUNDS make it smaller.

The same objects of the demo are rendered by the same supervised Blenders, one for each core. The pool writes
each picture into a file and keeps no books. The runners do what `mvcap render` does: a Parquet file, a commit
record, a log, and then the data file with its contact sheet for each shard, which here is a single object,
so that all three hand out work in the same pieces; a real shard has 32 and spreads its costs over these.

The clock runs from when all workers stand, with Blender started, until the last object is committed. What it
took until then is printed beside, Ray's own start apart. The rounds alternate. CPU time is that of this
process and everything below it. Ray's own processes take a little of a core whether or not anything is done:
on a machine that is busy with other things, where rounds last longer, that weighs more.
"""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from mvcap import plugins, recipes
from mvcap.commits import CAPTION, RENDER
from mvcap.config import Config, settings_hash
from mvcap.plan import Plan, extend_plan
from mvcap.records import SelectedObject, View
from mvcap.sources import sh3f
from mvcap.storage import Store
from pipelines.captioning import uncaptioned_stage
from pipelines.in_flight import InFlight
from pipelines.ledger import Ledger
from pipelines.logged_worker import logged
from pipelines.rendering import open_renderer, render_settings, render_stage, stage_arguments
from pipelines.runners.local import LocalRunner
from pipelines.stages import ShardReport, Stage
from render.stage import render_objects

OBJECTS = int(os.environ.get("BENCH_OBJECTS", "20"))
VIEWS = int(os.environ.get("BENCH_VIEWS", "12"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
PRESET = os.environ.get("BENCH_PRESETS", "fast").split()[0]
IDLE_S = 5.0
WORKERS = len(os.sched_getaffinity(0))


@dataclass(slots=True)
class Measured:
    """One round of one of them."""

    start_s: float
    """From nothing until the last worker stands; without Ray's own start."""
    wall_s: float
    cpu_s: float


@dataclass(slots=True)
class Gate:
    """Holds all workers back until the last one stands, and reads the clocks then and at the end."""

    folder: Path
    workers: int
    begun: float = field(default_factory=time.perf_counter)
    opened: float = 0.0
    cpu_opened: float = 0.0

    def await_workers(self) -> None:
        """Open the gate when everybody stands; in a thread beside the run."""
        while len(list(self.folder.glob("ready-*"))) < self.workers:
            time.sleep(0.02)
        self.cpu_opened, self.opened = cpu_seconds(), time.perf_counter()
        (self.folder / "go").touch()

    def measure(self) -> Measured:
        assert self.opened
        wall_s, cpu_s = time.perf_counter() - self.opened, cpu_seconds() - self.cpu_opened
        return Measured(self.opened - self.begun, wall_s, cpu_s)


def stand_ready(folder: Path) -> None:
    (folder / f"ready-{os.getpid()}-{threading.get_ident()}").touch()


def wait_at(folder: Path) -> None:
    while not (folder / "go").exists():
        time.sleep(0.01)


def cpu_seconds() -> float:
    """CPU time of this process and all below it, of those that have ended too."""
    times = [psutil.Process().cpu_times()]
    for process in psutil.Process().children(recursive=True):
        try:
            times.append(process.cpu_times())
        except psutil.NoSuchProcess:
            continue
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


class GatedWorker:
    """A worker that starts its Blender, and begins when all others stand too."""

    busy_s = None

    def __init__(self, make_worker: Callable[[], AbstractContextManager[Any]], folder: Path) -> None:
        self._context = make_worker()
        self._folder = folder

    def __enter__(self) -> "GatedWorker":
        self._worker = self._context.__enter__()
        dict(self._worker.made_by)  # asks Blender for its version
        stand_ready(self._folder)
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    @property
    def made_by(self) -> Any:
        return self._worker.made_by

    def __call__(self, records: Iterable[Any]) -> Iterator[Any]:
        wait_at(self._folder)
        return self._worker(records)


class Ending:
    """An observer that measures when the last shard is committed."""

    def __init__(self, gate: Gate, shards: int) -> None:
        self._gate, self._left = gate, shards
        self.measured: Measured | None = None

    def advance(self, stage: str, records: int) -> None:
        """Nobody looks."""

    def finish(self, report: ShardReport) -> None:
        self._left -= report.stage == CAPTION
        if self._left == 0:
            self.measured = self._gate.measure()


@pytest.fixture(scope="module")
def config() -> Config:
    overrides = [
        f"render.views={VIEWS}",
        f"render.preset={PRESET}",
        "render.samples=null",
        "render.device=cpu",
    ]
    settings = recipes.apply_overrides(recipes.read_recipe("demo"), overrides)
    return recipes.build_config(settings, plugins.options_model, captions=False)


@pytest.fixture(scope="module")
def objects() -> list[SelectedObject]:
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    listed = sh3f.list_objects(sh3f.Options(selection="demo"))
    return [item for item in listed if isinstance(item, SelectedObject)][:OBJECTS]


@pytest.mark.timeout(0)
@pytest.mark.blender
@pytest.mark.ray
def test_overhead_of_the_runners(config, objects, tmp_path):
    from ray import cloudpickle

    from pipelines.runners.ray import RayRunner
    from pipelines.runners.ray_connection import connected

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray_starts: list[float] = []
    ray_idles: list[float] = []

    def on_ray(folder: Path) -> Measured:
        begun = time.perf_counter()
        with connected(None):
            ray_starts.append(time.perf_counter() - begun)
            cpu = cpu_seconds()
            time.sleep(IDLE_S)
            ray_idles.append((cpu_seconds() - cpu) / IDLE_S)
            return runner_round(config, objects, RayRunner(), folder)

    ways: dict[str, Callable[[Path], Measured]] = {
        "multiprocessing.Pool": partial(pool_round, config, objects),
        "mvcap, local": lambda folder: runner_round(config, objects, LocalRunner(), folder),
        "mvcap, Ray": on_ray,
    }
    rounds: dict[str, list[Measured]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items():
            folder = tmp_path / f"{name.replace(' ', '')}-{number}"
            (folder / "gate").mkdir(parents=True)
            rounds[name].append(way(folder))
    print(table(rounds, len(objects) * VIEWS))
    print(
        f"Ray's own start: {np.median(ray_starts):.1f} s; idle it takes {np.median(ray_idles):.3f} of a core"
    )
    print(f"load average {os.getloadavg()[0]:.1f}")


def pool_round(config: Config, objects: list[SelectedObject], folder: Path) -> Measured:
    gate = Gate(folder / "gate", WORKERS)
    with multiprocessing.get_context("fork").Pool(
        WORKERS, initializer=start_worker, initargs=(config, folder)
    ) as pool:
        results = pool.imap_unordered(render_to_files, objects, chunksize=1)
        gate.await_workers()
        pictures = sum(results)
        measured = gate.measure()
        pool.close()
        pool.join()
    assert pictures == len(list(folder.glob("*.jpg"))) == len(objects) * VIEWS
    return measured


_renderer: Any = None
_arguments: dict[str, Any] = {}
_folder = Path()


def start_worker(config: Config, folder: Path) -> None:
    global _renderer, _arguments, _folder
    _renderer, _arguments, _folder = open_renderer(config), stage_arguments(config), folder
    _renderer.versions()
    stand_ready(folder / "gate")


def render_to_files(item: SelectedObject) -> int:
    wait_at(_folder / "gate")
    count = 0
    for view in render_objects([item], _renderer, **_arguments):
        assert isinstance(view, View), view
        (_folder / f"{item.uid}-{view.view_index}.jpg").write_bytes(view.image)
        count += 1
    return count


def runner_round(config: Config, objects: list[SelectedObject], runner: Any, folder: Path) -> Measured:
    store = Store(folder / "dataset")
    plan = extend_plan(Plan(0, 1, {"train": 1.0}), [item.uid for item in objects])
    store.write_plan(plan, objects, [])
    gate = Gate(folder / "gate", WORKERS + 1)
    rendering = logged(render_stage(config, settings_hash(render_settings(config))), store.root)
    stages = [gated(rendering, WORKERS, gate), gated(uncaptioned_stage(), 1, gate)]
    indices = [shard.index for shard in plan.shards]
    ledger = Ledger(
        {RENDER: indices, CAPTION: indices},
        in_flight=InFlight(),
        objects_of=lambda shard: plan.shards[shard].uids,
    )
    opener = threading.Thread(target=gate.await_workers, daemon=True)
    opener.start()
    ending = Ending(gate, len(indices))
    runner.run(stages, store.root, ledger, ending)
    rows = sum(commit.rows for shard in plan.shards if (commit := store.find_commit(CAPTION, shard)))
    assert rows == len(objects) * VIEWS
    assert ending.measured
    return ending.measured


def gated(stage: Stage[Any, Any], workers: int, gate: Gate) -> Stage[Any, Any]:
    return replace(stage, make_worker=partial(GatedWorker, stage.make_worker, gate.folder), workers=workers)


def table(rounds: dict[str, list[Measured]], views: int) -> str:
    """A line for each way: medians of its rounds, and of the ratios to the pool in the same round."""
    (base, baseline), *_ = rounds.items()
    lines = [
        f"\n{OBJECTS} objects x {VIEWS} views, {PRESET}, {WORKERS} workers, medians of {ROUNDS} rounds",
        f"{'':22}{'until all stand':>16}{'views/s':>9}{'CPU-s':>8}{'clock':>9}{'CPU':>9}  over {base}",
    ]
    for name, measured in rounds.items():
        start, wall, cpu = (
            np.median([getattr(each, part) for each in measured]) for part in ("start_s", "wall_s", "cpu_s")
        )
        over = [
            np.median(
                [
                    getattr(own, part) / getattr(bare, part)
                    for own, bare in zip(measured, baseline, strict=True)
                ]
            )
            for part in ("wall_s", "cpu_s")
        ]
        lines.append(
            f"{name:22}{start:14.1f} s{views / wall:9.2f}{cpu:8.1f}{over[0] - 1:+9.1%}{over[1] - 1:+9.1%}"
        )
    return "\n".join(lines)
