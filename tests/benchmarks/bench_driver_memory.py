"""The driver's memory while datasets grow, and how many shards a second it can hand out and take in.

    .venv/bin/pytest -s tests/benchmarks/bench_driver_memory.py   # BENCH_ROWS, BENCH_SHARDS, BENCH_RUNNERS

Fake stages put out rows of real size without doing anything else, so that rows pass as fast as they can. The
driver is a process of its own for each size, which reports the peak of its resident size above what it had
before the run: what grows there grows with the plan (uids and commits), and must not grow with the rows.
Objects have 100 views, shards 32 objects, unless there are fewer rows.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest
from PIL import Image

from mvcap.commits import CAPTION, RENDER
from mvcap.plan import Plan, extend_plan
from mvcap.records import ObjectRecord, SelectedObject, View
from mvcap.storage import Store
from pipelines.captioning import uncaptioned_stage
from pipelines.in_flight import InFlight
from pipelines.ledger import Ledger
from pipelines.runners.local import LocalRunner
from pipelines.stages import ShardReport, Stage

ROWS = [int(rows) for rows in os.environ.get("BENCH_ROWS", "1000 10000 100000").split()]
SHARDS = int(os.environ.get("BENCH_SHARDS", "500"))
RUNNERS = os.environ.get("BENCH_RUNNERS", "local ray").split()
VIEWS, OBJECTS_PER_SHARD, PX = 100, 32, 224
WORKERS = 2
"""Of the stage that renders; two at once suffice to keep the driver busy."""


class FakeViews:
    """Puts out an object's views, all with the same noisy picture of a real size."""

    busy_s = None
    made_by: ClassVar[dict[str, str]] = {"name": "fake"}

    def __init__(self, views: int, px: int) -> None:
        self._views, self._px = views, px
        noise = np.random.default_rng(0).integers(0, 255, (px // 4, px // 4, 3), np.uint8)
        Image.fromarray(noise).resize((px, px)).save(file := BytesIO(), "JPEG", quality=95)
        self._picture = file.getvalue()

    def __call__(self, records: Iterable[SelectedObject]) -> Iterator[View]:
        for item in records:
            for index in range(self._views):
                size = {"width": self._px, "height": self._px}
                yield View(
                    item, index, self._picture, "#ffffff", **size, camera=None, foreground_fraction=None
                )


@contextmanager
def fake_views(views: int, px: int = PX) -> Iterator[FakeViews]:
    yield FakeViews(views, px)


class Peak:
    """An observer that watches this process's resident size, and notes when shards are done."""

    def __init__(self) -> None:
        self.process = psutil.Process()
        self.before = self.peak = self.process.memory_info().rss
        self.finished: list[float] = []
        self.rows = 0

    def advance(self, stage: str, records: int) -> None:
        self.peak = max(self.peak, self.process.memory_info().rss)

    def finish(self, report: ShardReport) -> None:
        self.peak = max(self.peak, self.process.memory_info().rss)
        if report.stage == CAPTION:
            self.finished.append(time.perf_counter())
            self.rows += report.rows


def drive(runner: str, *, objects: int, views: int, per_shard: int, folder: Path) -> dict[str, float]:
    """Run both stages over so many objects in this process, and measure it."""
    if runner == "local":
        return measured_run(LocalRunner(), objects, views, per_shard, folder)
    from pipelines.runners.ray import RayRunner
    from pipelines.runners.ray_connection import connected

    with connected(None):
        return measured_run(RayRunner(), objects, views, per_shard, folder)


def measured_run(runner: Any, objects: int, views: int, per_shard: int, folder: Path) -> dict[str, float]:
    store, plan = planned(objects, per_shard, folder)
    indices = [shard.index for shard in plan.shards]
    rendering: Stage[Any, Any] = Stage(RENDER, "fake", lambda: fake_views(views), workers=WORKERS)
    peak = Peak()
    cpu = time.process_time()
    ledger = Ledger(
        {RENDER: indices, CAPTION: indices},
        in_flight=InFlight(limit_shards=64),
        objects_of=lambda shard: plan.shards[shard].uids,
    )
    runner.run([rendering, uncaptioned_stage()], store.root, ledger, peak)
    assert peak.rows == objects * views
    return {
        "before_mib": peak.before / 2**20,
        "grown_mib": (peak.peak - peak.before) / 2**20,
        "shards_per_s": (len(indices) - 1) / max(peak.finished[-1] - peak.finished[0], 1e-9),
        "driver_ms_per_shard": 1e3 * (time.process_time() - cpu) / len(indices),
    }


def planned(objects: int, per_shard: int, folder: Path) -> tuple[Store, Plan]:
    """Write the plan of a dataset of objects that nobody will look at."""
    items = [
        SelectedObject(
            ObjectRecord(f"fake-{number:06d}", "fake", str(number), "", "", None, None, None), "chair"
        )
        for number in range(objects)
    ]
    plan = extend_plan(Plan(0, per_shard, {"train": 1.0}), [item.uid for item in items])
    store = Store(folder)
    store.write_plan(plan, items, [])
    return store, plan


def in_a_process_of_its_own(*arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(0)
@pytest.mark.ray
def test_the_drivers_memory_does_not_grow_with_rows(tmp_path):
    print(f"\n{'':8}{'rows':>9}{'shards':>8}{'driver before':>15}{'grown at most by':>18}")
    for runner in RUNNERS:
        for rows in ROWS:
            objects = max(rows // VIEWS, 1)
            found = in_a_process_of_its_own(
                runner, objects, VIEWS, OBJECTS_PER_SHARD, tmp_path / f"{runner}-{rows}"
            )
            print(
                f"{runner:8}{rows:9}{-(-objects // OBJECTS_PER_SHARD):8}{found['before_mib']:11.0f} MiB"
                f"{found['grown_mib']:14.0f} MiB"
            )


@pytest.mark.timeout(0)
@pytest.mark.ray
def test_shards_a_second(tmp_path):
    print(
        f"\n{SHARDS} shards of one object with one view, both stages, committed with fsync; {WORKERS} workers"
    )
    for runner in RUNNERS:
        found = in_a_process_of_its_own(runner, SHARDS, 1, 1, tmp_path / runner)
        each_ms = found["driver_ms_per_shard"]
        print(f"{runner:8}{found['shards_per_s']:7.1f} shards/s", end="; ")
        print(
            f"{each_ms:.1f} CPU-ms of the driver's process each, so {1e3 / each_ms:.0f}/s would fill its core"
        )


if __name__ == "__main__":
    name, *numbers, place = sys.argv[1:]
    count, each, size = map(int, numbers)
    print(json.dumps(drive(name, objects=count, views=each, per_shard=size, folder=Path(place))))
