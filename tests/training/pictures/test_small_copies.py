"""Small copies: made once, in parts, and read in the place of the originals."""

import io
import os
import subprocess
import sys

import numpy as np
import psutil
import pytest
from PIL import Image

from mvcap.errors import CorruptDatasetError
from training.pictures import EncodedPicture, small_copies
from training.pictures.dataset import DatasetPictures
from training.pictures.decoding import decode
from training.pictures.small_copies import make_small_copies


@pytest.fixture
def pictures(small_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(small_copies, "PART", 20)
    return DatasetPictures(small_dataset, lambda split, uid: True)


def test_they_show_the_same_smaller(pictures):
    copies = make_small_copies(pictures, 16, processes=1, say=lambda message: None)
    for row in (0, 19, 20, 47):
        copy = decode(copies.read([row])[0], copies.key(row))
        assert copy.size == (16, 16)
        original = decode(pictures.read([row])[0], "x").resize((16, 16), Image.Resampling.BICUBIC)
        difference = np.abs(np.asarray(copy, float) - np.asarray(original, float)).mean()
        assert difference < 10, "16 px of bright colours, these at half the resolution"
    assert copies.read([47, 0, 47])[0] == copies.read([47])[0]
    assert copies.table is pictures.table
    assert copies.key(3) == pictures.key(3)
    assert copies.read([3])[0].exif, "what was small already is stored as it was, to be turned"


def test_only_what_is_missing_is_made(pictures):
    told = []
    copies = make_small_copies(pictures, 16, processes=1, say=told.append)
    assert "3 of 3 parts" in told[0]
    kept = {path: path.read_bytes() for path in sorted(copies.folder.iterdir())}
    (copies.folder / "000001.npy").unlink()
    make_small_copies(pictures, 16, processes=1, say=told.append)
    assert "1 of 3 parts" in told[1]
    assert {path: path.read_bytes() for path in sorted(copies.folder.iterdir())} == kept
    make_small_copies(pictures, 16, processes=1, say=told.append)
    assert len(told) == 2


@pytest.mark.slow
def test_a_parent_that_is_killed_leaves_no_process_behind(small_dataset, tmp_path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from training.pictures import small_copies\n"
        "from training.pictures.dataset import DatasetPictures\n"
        "pictures = DatasetPictures(Path(sys.argv[1]), lambda split, uid: True)\n"
        "small_copies._make_part = lambda *_: (print('busy', flush=True), time.sleep(2))\n"
        "small_copies.make_small_copies(pictures, 16, processes=1, say=lambda message: None)\n"
    )
    environment = {**os.environ, "MVCAP_CACHE": str(tmp_path)}
    command = [sys.executable, "-c", script, str(small_dataset)]
    parent = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "busy\n"
    children = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert gone
    assert not alive


def test_damage_is_told_with_its_remedy(pictures):
    copies = make_small_copies(pictures, 16, processes=1, say=lambda message: None)
    (copies.folder / "000000.jpegs").unlink()
    with pytest.raises(CorruptDatasetError, match="delete that folder"):
        copies.read([3])


def test_what_is_small_already_stays_as_it_is():
    Image.new("RGB", (30, 20), "red").save(buffer := io.BytesIO(), "JPEG")
    assert small_copies._smaller(EncodedPicture(buffer.getvalue()), "x", 20) == buffer.getvalue()
    wide = Image.open(io.BytesIO(small_copies._smaller(EncodedPicture(buffer.getvalue()), "x", 10)))
    assert wide.size == (15, 10)
