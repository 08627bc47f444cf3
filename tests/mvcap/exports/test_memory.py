"""What an export takes of memory does not grow with the dataset."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mvcap import schema
from mvcap.commits import CAPTION
from mvcap.records import View
from mvcap.rows import view_row
from mvcap.tables import TableWriter
from pipelines.exporting import export_formats

pytestmark = pytest.mark.slow

PICTURE_BYTES = 2**20
SOAK = bool(os.environ.get("MVCAP_SOAK"))
OBJECTS = 2048 if SOAK else 192
ALLOWED_BYTES = (512 if SOAK else 96) * 2**20
"""Above what exporting two objects takes; the dataset has at least twice as much, all incompressible."""
FORMATS = export_formats() if SOAK else sorted({*export_formats()} - {"lance"})
"""Lance buffers up to some hundred MiB for the disk, so that only a larger dataset tells."""
EXPORT = r"""
import re, sys
from pathlib import Path
from pipelines.exporting import export_dataset
views = export_dataset(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
print(views, 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]))
"""


@pytest.fixture(scope="module")
def datasets(make_dataset) -> dict[int, Path]:
    """Two datasets with a picture of 1 MiB for each object, by how many they have."""
    made = {}
    for count in (2, OBJECTS):
        dataset = make_dataset([f"{n:03d}" for n in range(count)], per_shard=16)
        for shard in dataset.plan.shards:
            with dataset.store.stage_file(CAPTION, shard) as path:
                with TableWriter(path, schema.VIEW_SCHEMA) as writer:
                    for uid in shard.uids:
                        picture = b"\x89PNG" + os.urandom(PICTURE_BYTES)
                        view = View(dataset.objects[uid], 0, picture, "#ffffff", 8, 8, None, None)
                        writer.write([view_row(view, split=shard.split) | {"caption": "a chair"}])
                views = dict.fromkeys(shard.uids, 1)
                dataset.store.commit(CAPTION, shard, path, settings="s", rows=len(views), views=views)
        with TableWriter(dataset.store.root / "objects.parquet", schema.OBJECT_SCHEMA) as writer:
            columns = {"name": "x", "status": "done", "views": 1, "split": "train", "shard": 0}
            writer.write(
                [
                    {"uid": uid, "source": "folder", "source_id": uid, "category": "chair", **columns}
                    for uid in dataset.objects
                ]
            )
        made[count] = dataset.store.root
    return made


@pytest.mark.parametrize("name", FORMATS)
def test_memory_does_not_grow_with_the_dataset(name, datasets, tmp_path):
    peaks = {}
    for count, root in datasets.items():
        command = [sys.executable, "-c", EXPORT, str(root), name, str(tmp_path / str(count))]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        views, peak_bytes = map(int, done.stdout.split())
        assert views == count
        peaks[count] = peak_bytes
    print(name, peaks)
    assert peaks[OBJECTS] - peaks[2] < ALLOWED_BYTES, peaks
