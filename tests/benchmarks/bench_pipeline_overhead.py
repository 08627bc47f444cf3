"""What the runners cost beside the rendering itself: a bare `multiprocessing.Pool`, local threads, and Ray.

    .venv/bin/pytest -s tests/benchmarks/bench_pipeline_overhead.py

BENCH_OBJECTS, BENCH_VIEWS and BENCH_ROUNDS make it smaller.

The same objects of the demo are rendered by the same supervised Blenders, one for each core. The pool writes
each picture into a file and keeps no books. The runners do what `mvcap render` does: a Parquet file, a commit
record, a log, and then the data file with its contact sheet for each shard, which here is a single object,
so that all three hand out work in the same pieces; a real shard has 32 and spreads its costs over these.

The clock runs from when all workers stand, with Blender started and everything imported, until the last
object is committed. What it took until then, in seconds and in CPU-seconds, is a constant of each run and
printed beside, Ray's own start apart. Ray lowers the priority of its workers, which on a busy machine would
be all that the clock shows: here it does not. The rounds alternate.

The second table says which processes took the CPU time. Ray's own ones, and all that wait, take a little of a
core even while nothing is done: for a few seconds before the clock runs everybody stands and waits. That
weighs more where other programs make the rounds longer, and Blender's CPU time varies with them too. So the
last column says what the runner adds, as a share of the pool's CPU time, where nothing else runs: what each
object costs beside Blender and rest, and rest for as long as the pool's CPU time takes on all cores. Were
there another constant, the first half of the objects would cost more than the second.
"""

import fcntl
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from process_times import BLENDER, KINDS, cpu_by_kind

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
REST_S = 5.0
START, END = "start", "end"
WORKERS = len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Clocks:
    """What they show at one moment."""

    at_s: float
    cpu: Mapping[str, float]
    """CPU-seconds so far by kind of process."""

    @classmethod
    def read(cls) -> "Clocks":
        return cls(time.perf_counter(), cpu_by_kind())

    @property
    def cpu_s(self) -> float:
        return sum(self.cpu.values())

    @property
    def beside_blender_s(self) -> float:
        return self.cpu_s - self.cpu[BLENDER]


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one of them."""

    begun: Clocks
    """Before there was any worker; where there is a Ray, it stands."""
    stood: Clocks
    """When the last worker stood."""
    opened: Clocks
    """When they had rested."""
    half: Clocks
    """When half of the objects were done."""
    ended: Clocks

    @property
    def wall_s(self) -> float:
        return self.ended.at_s - self.opened.at_s

    @property
    def cpu_s(self) -> float:
        return self.ended.cpu_s - self.opened.cpu_s

    @property
    def rest(self) -> float:
        """Cores that were busy while all waited."""
        return (self.opened.cpu_s - self.stood.cpu_s) / (self.opened.at_s - self.stood.at_s)

    def own_s(self, begin: Clocks, end: Clocks) -> float:
        """CPU-seconds of neither Blender nor waiting between two moments."""
        spent = end.beside_blender_s - begin.beside_blender_s
        return spent - self.rest * (end.at_s - begin.at_s)

    def added_alone(self, pool: "Measured") -> float:
        """What this adds to the pool's CPU time where nothing else runs, as a share of it."""
        own_s = self.own_s(self.opened, self.ended) - pool.own_s(pool.opened, pool.ended)
        return (own_s + (self.rest - pool.rest) * pool.cpu_s / WORKERS) / pool.cpu_s


class Gate:
    """Holds all workers back until the last one stands; reads the clocks then, halfway, and at the end.

    Whoever waits, waits for a lock: looking again and again would count as work.
    """

    def __init__(self, folder: Path, workers: int, objects: int) -> None:
        self.folder = folder
        self._workers = workers
        self._objects = objects
        self._done = 0
        self._start, self._end = (folder.joinpath(name).open("wb") for name in (START, END))
        for door in (self._start, self._end):
            fcntl.flock(door, fcntl.LOCK_EX)
        self._clocks = [Clocks.read()]

    def await_workers(self) -> None:
        """Open the gate when everybody stands and has rested; in a thread beside the run."""
        while len(list(self.folder.glob("ready-*"))) < self._workers:
            time.sleep(0.02)
        self._clocks.append(Clocks.read())
        time.sleep(REST_S)
        self._clocks.append(Clocks.read())
        fcntl.flock(self._start, fcntl.LOCK_UN)

    def count(self) -> None:
        """Note that an object is done."""
        self._done += 1
        if self._done in (self._objects // 2, self._objects):
            self._clocks.append(Clocks.read())
        if self._done == self._objects:
            fcntl.flock(self._end, fcntl.LOCK_UN)

    @property
    def measured(self) -> Measured:
        return Measured(*self._clocks)


def stand_ready(folder: Path) -> None:
    """Import what only the first object would make a process import, and tell that it stands."""
    pa.array([0])  # which imports pandas
    Image.init()
    (folder / f"ready-{os.getpid()}-{threading.get_ident()}").touch()


def wait_at(door: Path) -> None:
    with door.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)


class GatedWorker:
    """A worker that starts its Blender, begins when all others stand too, and stays until all is measured."""

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
        if error == (None, None, None):
            wait_at(self._folder / END)
        self._context.__exit__(*error)

    @property
    def made_by(self) -> Any:
        return self._worker.made_by

    def __call__(self, records: Iterable[Any]) -> Iterator[Any]:
        wait_at(self._folder / START)
        return self._worker(records)


class Counting:
    """An observer that counts the objects whose data is committed."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def advance(self, stage: str, records: int) -> None:
        """Nobody looks."""

    def finish(self, report: ShardReport) -> None:
        if report.stage == CAPTION:
            self._gate.count()


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
def test_overhead_of_the_runners(config, objects, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_worker_niceness", "0")
    from ray import cloudpickle

    from pipelines.runners.ray import RayRunner
    from pipelines.runners.ray_connection import connected

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray_starts: list[float] = []

    def on_ray(folder: Path) -> Measured:
        begun = time.perf_counter()
        with connected(None):
            ray_starts.append(time.perf_counter() - begun)
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
    print(table_of_processes(rounds))
    print(f"Ray's own start: {np.median(ray_starts):.1f} s. Load average {os.getloadavg()[0]:.1f}")


def pool_round(config: Config, objects: list[SelectedObject], folder: Path) -> Measured:
    gate = Gate(folder / "gate", WORKERS, len(objects))
    with multiprocessing.get_context("fork").Pool(
        WORKERS, initializer=start_worker, initargs=(config, folder)
    ) as pool:
        results = pool.imap_unordered(render_to_files, objects, chunksize=1)
        gate.await_workers()
        pictures = 0
        for made in results:
            pictures += made
            gate.count()
        pool.close()
        pool.join()
    assert pictures == len(list(folder.glob("*.jpg"))) == len(objects) * VIEWS
    return gate.measured


_renderer: Any = None
_arguments: dict[str, Any] = {}
_folder = Path()


def start_worker(config: Config, folder: Path) -> None:
    global _renderer, _arguments, _folder
    _renderer, _arguments, _folder = open_renderer(config), stage_arguments(config), folder
    _renderer.versions()
    stand_ready(folder / "gate")


def render_to_files(item: SelectedObject) -> int:
    wait_at(_folder / "gate" / START)
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
    gate = Gate(folder / "gate", WORKERS + 1, len(objects))
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
    runner.run(stages, store.root, ledger, Counting(gate))
    rows = sum(commit.rows for shard in plan.shards if (commit := store.find_commit(CAPTION, shard)))
    assert rows == len(objects) * VIEWS
    return gate.measured


def gated(stage: Stage[Any, Any], workers: int, gate: Gate) -> Stage[Any, Any]:
    return replace(stage, make_worker=partial(GatedWorker, stage.make_worker, gate.folder), workers=workers)


def table(rounds: Mapping[str, list[Measured]], views: int) -> str:
    """A line for each way: medians of its rounds, and of the ratios to the pool in the same round."""
    (base, baseline), *_ = rounds.items()
    lines = [
        f"\n{OBJECTS} objects x {VIEWS} views, {PRESET}, {WORKERS} workers, medians of {ROUNDS} rounds",
        f"{'':22}{'until all stand':>21}{'views/s':>9}{'CPU-s':>8}{'clock':>9}{'CPU':>9}  over {base}",
    ]
    for name, measured in rounds.items():
        start_s = np.median([each.stood.at_s - each.begun.at_s for each in measured])
        start_cpu_s = np.median([each.stood.cpu_s - each.begun.cpu_s for each in measured])
        rate = views / np.median([each.wall_s for each in measured])
        cpu_s = np.median([each.cpu_s for each in measured])
        pairs = list(zip(measured, baseline, strict=True))
        over_wall = np.median([own.wall_s / bare.wall_s for own, bare in pairs])
        over_cpu = np.median([own.cpu_s / bare.cpu_s for own, bare in pairs])
        lines.append(
            f"{name:22}{start_s:7.1f} s {start_cpu_s:5.1f} CPU-s{rate:9.2f}{cpu_s:8.1f}"
            f"{over_wall - 1:+9.1%}{over_cpu - 1:+9.1%}"
        )
    return "\n".join(lines)


def table_of_processes(rounds: Mapping[str, list[Measured]]) -> str:
    """Who took the CPU-seconds once all stood: medians."""
    (_, baseline), *_ = rounds.items()
    heads = [*KINDS, "at rest", "1st half", "2nd half", "added"]
    lines = [
        "\nCPU-s by process; cores busy at rest; CPU-ms for each object, beside Blender and rest; share that "
        "this adds where nothing else runs",
        f"{'':22}" + "".join(f"{head:>11}" for head in heads),
    ]
    for name, measured in rounds.items():
        taken = [each.ended.cpu[kind] - each.opened.cpu[kind] for kind in KINDS for each in measured]
        by_kind = np.median(np.reshape(taken, (len(KINDS), len(measured))), axis=1)
        rest = np.median([each.rest for each in measured])
        first = np.median([each.own_s(each.opened, each.half) for each in measured]) / (OBJECTS // 2)
        second = np.median([each.own_s(each.half, each.ended) for each in measured]) / (
            OBJECTS - OBJECTS // 2
        )
        added = np.median([own.added_alone(bare) for own, bare in zip(measured, baseline, strict=True)])
        lines.append(
            f"{name:22}{''.join(f'{seconds:11.2f}' for seconds in by_kind)}{rest:11.3f}"
            f"{1000 * first:11.0f}{1000 * second:11.0f}{added:+11.1%}"
        )
    return "\n".join(lines)
