"""What tuning on many views brings and costs: a small CLIP and unknown furniture.

    .venv/bin/pytest -s --timeout 0 tests/benchmarks/bench_viewpoint_claim.py

Renders the furniture from the front and from odd sides, once: pictures stay in BENCH_CLAIM_CACHE (mvcap's
cache folder). Each of BENCH_CLAIM_SEEDS=2 seeds is another split of the objects, base and tuning.
BENCH_CLAIM_GROUP=switches takes the product's switches beyond the paper instead of the rows of the claim, and
BENCH_CLAIM_ROWS=ours those rows whose names begin so; `viewpoint_claim/rows.py` says what each row is.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from mvcap.local_files import cache_folder
from mvcap.sources import sh3f
from viewpoint_claim.data import make_pictures
from viewpoint_claim.evaluation import CLEAN
from viewpoint_claim.pictures import free_cores
from viewpoint_claim.report import reaches, write_anchor_figures, write_table
from viewpoint_claim.rows import GROUPS
from viewpoint_claim.run import Result, make_base, open_bench, run_row

CACHE = Path(os.environ.get("BENCH_CLAIM_CACHE", cache_folder() / "viewpoint_claim"))
SEEDS = range(int(os.environ.get("BENCH_CLAIM_SEEDS", "2")))
GROUP = GROUPS[os.environ.get("BENCH_CLAIM_GROUP", "claim")]
CHOSEN = tuple(
    row for row in GROUP if row.name.strip(" +").startswith(os.environ.get("BENCH_CLAIM_ROWS", ""))
)


@pytest.mark.timeout(0)
def test_what_tuning_on_many_views_brings_and_costs(tmp_path):
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    begun = time.monotonic()
    CACHE.mkdir(parents=True, exist_ok=True)
    pictures, left_out = make_pictures(CACHE, workers=free_cores())
    pictures.save(tmp_path)
    print(
        f"\n{len(pictures.uids)} objects of {len(set(pictures.nouns))} categories, {len(pictures.rgba)}"
        f" pictures; left out: {len(left_out.lookalikes)} lookalikes, {len(left_out.failed)} that failed,"
        f" {left_out.flawed_views} views; rendered or read in {time.monotonic() - begun:.0f} s"
    )
    begun = time.monotonic()
    with workers(min(2, free_cores())) as pool:
        bases = [future.result() for future in [pool.submit(make_base, tmp_path, seed) for seed in SEEDS]]
        pending: dict[str, list[Future[Result]]] = {
            row.name: [
                pool.submit(run_row, tmp_path, base.validation[1.0], row, seed)
                for seed, base in zip(SEEDS, bases, strict=True)
            ]
            for row in CHOSEN
        }
        rows = {name: [future.result() for future in futures] for name, futures in pending.items()}
    benches = [open_bench(tmp_path, seed) for seed in SEEDS]
    exams = [bench.test for bench in benches]
    for seed, bench in zip(SEEDS, benches, strict=True):
        counts = ", ".join(
            f"{bench.parted.parts.count(part)} {part}" for part in sorted(set(bench.parted.parts))
        )
        print(f"seed {seed}: {counts}; never tuned with: {', '.join(sorted(bench.parted.unseen))}")
    print(write_table(bases, exams, rows))
    if figures := write_anchor_figures(rows):
        print(
            f"\nKept anchors, mean over refreshes: with those before, and a bank's with fresh ones\n{figures}"
        )
    reached = [name.strip(" +") for name, results in rows.items() if reaches(results, bases, exams)]
    print(f"\nviewpoint-OOD >= +10, clean >= -0.5, 2D-OOD >= -1: {', '.join(reached) or 'no row'}")
    results = [*bases, *(result for row in rows.values() for result in row)]
    used = sum(result.seconds for result in results)
    print(
        f"{used / 60:.0f} CPU-minutes, {(time.monotonic() - begun) / 60:.0f} minutes on {free_cores()} cores"
    )
    for base, exam in zip(bases, exams, strict=True):
        assert base.marks.accuracy(exam, CLEAN) > 3 * 100 / len(exam.classes), "the base has learnt nothing"


@contextmanager
def workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes that have nothing but their imports in common with this one."""
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool
