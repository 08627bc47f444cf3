"""What is tried in a process of its own ends, with all that it started."""

import time

import psutil
import pytest

from pipelines.doctor.trials import TrialFailed, try_command, try_python


def test_what_was_printed_comes_back():
    assert try_python("-c", "print(6 * 7)", timeout_s=60) == "42"


def test_the_working_directory_is_not_imported_from(tmp_path, monkeypatch):
    (tmp_path / "colorsys.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    assert try_python("-c", "import colorsys; print('fine')", timeout_s=60) == "fine"


def test_an_error_is_told_by_its_last_line():
    with pytest.raises(TrialFailed, match=r"^ValueError: no such thing$"):
        try_python("-c", "raise ValueError('no such thing')", timeout_s=60)


def test_a_signal_is_named():
    with pytest.raises(TrialFailed, match="ended by SIGABRT"):
        try_python("-c", "import os; os.abort()", timeout_s=60)


def test_a_hang_ends_with_its_grandchildren(tmp_path):
    note = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {note}; wait"
    begun = time.monotonic()
    with pytest.raises(TrialFailed, match=r"no answer in 0\.5 s"):
        try_command(["sh", "-c", script], timeout_s=0.5)
    assert time.monotonic() - begun < 30
    grandchild = int(note.read_text())
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


def test_a_program_that_is_not_there_is_told():
    with pytest.raises(TrialFailed, match="does not start: No such file"):
        try_command(["/opt/no/such/program"], timeout_s=1)
