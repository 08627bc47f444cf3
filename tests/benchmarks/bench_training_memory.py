"""The memory of training while datasets grow: a million rows are to fit a process of 2 GB.

    .venv/bin/pytest -s tests/benchmarks/bench_training_memory.py   # BENCH_ROWS

Datasets of fake pictures, 100 views an object, every other caption its own, are written by the pipeline and
then trained on by a process of its own, which reports its peak. Another one fills a bank of as many features
of 512 and makes anchors from it.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvcap.commits import CAPTION, RENDER
from mvcap.records import CaptionedView, View
from pipelines.in_flight import InFlight
from pipelines.ledger import Ledger
from pipelines.runners.local import LocalRunner
from pipelines.stages import Stage

ROWS = [int(rows) for rows in os.environ.get("BENCH_ROWS", "100000 1000000").split()]
VIEWS, OBJECTS_PER_SHARD = 100, 32
PX, STEPS, BATCH, WIDTH = 16, 30, 64, 512
LIMIT_MIB = 2 * 1024


class FakeCaptions:
    busy_s = None
    made_by: ClassVar[dict[str, str]] = {"name": "fake"}

    def __call__(self, records: Iterable[View]) -> Iterator[CaptionedView]:
        for view in records:
            own = f" seen from side {view.view_index}" if view.view_index % 2 else ""
            yield CaptionedView(view, f"a wooden chair with a striped cushion, {view.object.uid}{own}", "")


@contextmanager
def fake_captions() -> Iterator[FakeCaptions]:
    yield FakeCaptions()


def write_dataset(folder: Path, rows: int) -> None:
    """Write what training reads of a dataset: its plan, its captioned shards, its objects' splits."""
    from bench_driver_memory import Peak, fake_views, planned  # beside this file, which runs as a script

    store, plan = planned(rows // VIEWS, OBJECTS_PER_SHARD, folder)
    indices = [shard.index for shard in plan.shards]
    stages = [
        Stage(RENDER, "fake", partial(fake_views, VIEWS, PX), workers=2),
        Stage(CAPTION, "fake", fake_captions, workers=1),
    ]
    ledger = Ledger(
        {RENDER: indices, CAPTION: indices},
        in_flight=InFlight(limit_shards=64),
        objects_of=lambda shard: plan.shards[shard].uids,
    )
    peak = Peak()
    LocalRunner().run(stages, store.root, ledger, peak)
    assert peak.rows == rows
    uids = [uid for shard in plan.shards for uid in shard.uids]
    alike = {"split": "train", "status": "done", "views": VIEWS}
    columns = {name: [value] * len(uids) for name, value in alike.items()}
    pq.write_table(pa.table({"uid": uids, **columns}), folder / "objects.parquet")


def train(dataset: Path, run: Path) -> dict[str, float]:
    """Train a small model for some steps, and look up anchors made of each batch."""
    from training.recipes import read_config
    from training.runs import run_training

    settings = [f"data.batch={BATCH}", f"optimiser.steps={STEPS}", "anchors.source=batch"]
    loaded = peak_mib()
    run_training(read_config("demo", settings), dataset, run, say=lambda message: None)
    return {"loaded_mib": loaded, "peak_mib": peak_mib()}


def fill_bank(folder: Path, rows: int) -> dict[str, float]:
    """Fill a bank and make anchors and outliers of all objects from it."""
    import torch

    from training.feature_bank import FeatureBank

    torch.set_num_threads(1)
    counts = torch.full((rows // VIEWS,), VIEWS)
    loaded = peak_mib()
    bank = FeatureBank(folder / "bank.f16", rows, WIDTH)
    generator = torch.Generator().manual_seed(0)
    for chunk in torch.randperm(rows, generator=generator).split(512):
        bank.write(chunk, torch.randn(len(chunk), WIDTH, generator=generator))
    bank.maximise(counts, outliers_per_object=5, weights="paper", eligible=None, device=torch.device("cpu"))
    return {"loaded_mib": loaded, "peak_mib": peak_mib()}


def peak_mib() -> float:
    """Return the peak of this process's resident size."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process_of_its_own(*arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(0)
def test_training_on_a_million_rows_fits_two_gigabytes(tmp_path):
    print(f"\n{'rows':>9}  {'':38}{'libraries loaded':>17}{'peak':>10}")
    for rows in ROWS:
        folder = tmp_path / str(rows)
        in_a_process_of_its_own("write", folder, rows)
        for what, found in (
            ("training, anchors of each batch", in_a_process_of_its_own("train", folder, tmp_path / "run")),
            (f"a bank of {WIDTH} and its anchors", in_a_process_of_its_own("bank", tmp_path, rows)),
        ):
            print(f"{rows:9}  {what:38}{found['loaded_mib']:13.0f} MiB{found['peak_mib']:6.0f} MiB")
            assert found["peak_mib"] < LIMIT_MIB


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", folder, rows]:
            write_dataset(Path(folder), int(rows))
            print("{}")
        case ["train", dataset, run]:
            print(json.dumps(train(Path(dataset), Path(run))))
        case ["bank", folder, rows]:
            print(json.dumps(fill_bank(Path(folder), int(rows))))
