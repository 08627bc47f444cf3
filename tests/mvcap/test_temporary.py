"""Temporary folders end with their owner, and are found where he was killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mvcap.temporary import TemporaryFolder

PREFIX = "mvcap-test-"


@pytest.fixture
def place(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_until_it_is_removed(place):
    folder = TemporaryFolder.open(PREFIX)
    (folder.path / "inside").mkdir()
    assert folder.path.parent == place
    folder.remove()
    assert list(place.iterdir()) == []


def test_removing_twice_closes_nobody_elses_file(place):
    folder = TemporaryFolder.open(PREFIX)
    folder.remove()
    with (place / "another").open("w") as another:  # it gets the number that was just closed
        folder.remove()
        os.fstat(another.fileno())


def test_what_a_killed_owner_left_goes_with_the_next_folder_and_what_is_held_stays(place):
    held = TemporaryFolder.open(PREFIX)
    program = (
        "import os, sys, tempfile; from mvcap.temporary import TemporaryFolder\n"
        "tempfile.tempdir = sys.argv[1]; folder = TemporaryFolder.open(sys.argv[2])\n"
        "(folder.path / 'left').touch(); print(folder.path); sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(place), PREFIX], capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    left = Path(killed.stdout.strip())
    assert (left / "left").exists()
    (place / "somebody elses").mkdir()
    (place / f"{PREFIX}file").touch()
    following = TemporaryFolder.open(PREFIX)
    assert not left.exists()
    assert held.path.exists()
    assert following.path.exists()
    assert (place / "somebody elses").exists()
    held.remove()
    following.remove()
