"""One driver at a time, in real processes."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mvcap.errors import DatasetLockedError, OutputError
from mvcap.flocks import waiting_lock
from mvcap.holds import Part
from mvcap.locks import dataset_lock

HOLD = """
import subprocess, sys
from pathlib import Path
from mvcap.locks import dataset_lock
part = tuple(map(int, sys.argv[2].split("/"))) if sys.argv[2] != "whole" else None
with dataset_lock(Path(sys.argv[1]), part) as held:
    if "quiet" not in sys.argv:
        held.announce()
    if "with-child" in sys.argv:
        child = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        print(child.pid)
    else:
        print(0)
    sys.stdout.flush()
    sys.stdin.read()
"""


class Holder:
    """Another process that holds the lock until it is told to end."""

    def __init__(self, internal: Path, part: Part | None, *options: str) -> None:
        slice_ = f"{part[0]}/{part[1]}" if part else "whole"
        self._process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(internal), slice_, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self.child_pid = int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.communicate("")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


Hold = Callable[..., Holder]


@pytest.fixture
def internal(tmp_path: Path) -> Path:
    return tmp_path / "dataset" / "_mvcap"


@pytest.fixture
def hold(internal: Path) -> Iterator[Hold]:
    holders: list[Holder] = []

    def start(part: Part | None = None, *options: str) -> Holder:
        holders.append(Holder(internal, part, *options))
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()
        if holder.child_pid:
            os.kill(holder.child_pid, signal.SIGKILL)


def assert_free(internal: Path, part: Part | None = None) -> None:
    with dataset_lock(internal, part):
        pass


def refusal(internal: Path, part: Part | None = None) -> str:
    with pytest.raises(DatasetLockedError) as caught, dataset_lock(internal, part):
        pass
    return str(caught.value)


def test_a_second_driver_is_refused_with_dataset_process_host_and_age(internal: Path, hold: Hold):
    first = hold()
    message = refusal(internal)
    assert f"{internal.parent} is in use by process {first.pid} on {socket.gethostname()}, for 0 s" in message
    assert "run the same command" in message
    first.end()
    assert_free(internal)


def test_the_lock_of_a_killed_driver_is_free_at_once_even_while_its_child_lives(internal: Path, hold: Hold):
    driver = hold(None, "with-child")
    driver.kill()
    os.kill(driver.child_pid, 0)  # it is still there
    assert_free(internal)


def test_a_refusal_never_names_a_driver_that_is_dead(internal: Path, hold: Hold):
    killed = hold()
    killed.kill()
    assert json.loads((internal / "lock").read_bytes())["pid"] == killed.pid
    hold(None, "quiet")
    assert "in use by another driver" in refusal(internal)


def test_a_driver_that_ended_in_order_leaves_no_name(internal: Path, hold: Hold):
    hold().end()
    assert (internal / "lock").read_bytes() == b""


def test_a_driver_with_nothing_to_do_does_not_touch_the_lock(internal: Path):
    assert_free(internal)
    before = (internal / "lock").stat()
    assert_free(internal)
    assert (internal / "lock").stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("content", ["{", "null", "[]", "{}", '{"host": 1}', '{"host": "h", "pid": "x"}'])
def test_a_damaged_lock_file_does_not_break_the_refusal(internal: Path, hold: Hold, content: str):
    hold(None, "quiet")
    (internal / "lock").write_text(content)
    assert "in use by another driver" in refusal(internal)


def test_another_hosts_driver_is_named_though_its_process_is_not_here(internal: Path, hold: Hold):
    hold(None, "quiet")
    owner = {"host": "elsewhere", "pid": 2**22 + 1, "since": time.time() - 60}
    (internal / "lock").write_text(json.dumps(owner))
    assert f"process {owner['pid']} on elsewhere, for 60 s" in refusal(internal)


def test_slices_run_side_by_side_and_each_only_once(internal: Path, hold: Hold):
    first, second = hold((0, 2)), hold((1, 2))
    assert f"process {first.pid} " in refusal(internal, (0, 2))
    assert f"process {second.pid} " in refusal(internal, (1, 2))
    first.end()
    assert_free(internal, (0, 2))
    assert str(second.pid) in refusal(internal, (1, 2))


def test_a_whole_build_waits_for_slices_and_is_told_one_of_them(internal: Path, hold: Hold):
    part = hold((3, 4))
    assert f"process {part.pid} " in refusal(internal)
    part.kill()
    assert_free(internal)


def test_slices_wait_for_a_whole_build(internal: Path, hold: Hold):
    whole = hold()
    assert f"process {whole.pid} " in refusal(internal, (0, 2))
    whole.end()
    assert_free(internal, (0, 2))


def test_the_lock_is_free_again_after_an_error(internal: Path):
    def fail() -> None:
        with dataset_lock(internal):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert_free(internal)


def test_a_waiting_lock_lets_the_second_go_on_when_the_first_is_done(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from mvcap.flocks import waiting_lock\n"
        "print('ready', flush=True)\n"
        "with waiting_lock(Path(sys.argv[1])): print(Path(sys.argv[2]).read_text())\n"
    )
    note = tmp_path / "note"
    with waiting_lock(tmp_path / "lock"):
        command = [sys.executable, "-c", code, str(tmp_path / "lock"), str(note)]
        second = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == "ready\n"
        note.write_text("written under the lock")
    assert second.communicate(timeout=30)[0] == "written under the lock\n"


def test_slices_learn_what_the_living_ones_chose_and_nothing_of_the_dead(internal: Path, hold: Hold):
    killed = hold((2, 3))
    killed.kill()
    with dataset_lock(internal, (0, 3)) as first, dataset_lock(internal, (1, 3)) as second:
        first.announce(settings={"render": "a"})
        with second.choosing():
            assert [slice_.facts["settings"] for slice_ in second.slices_at_work()] == [{"render": "a"}]
            assert list(first.slices_at_work()) == []  # slice 1 has not chosen yet
    with dataset_lock(internal, (1, 3)) as third, third.choosing():
        assert list(third.slices_at_work()) == []


def test_a_folder_that_cannot_be_written_is_explained(internal: Path):
    (internal / "lock").mkdir(parents=True)  # refuses an open for writing, also to root
    with pytest.raises(OutputError, match="cannot write to"), dataset_lock(internal):
        pass


def test_of_slices_that_end_together_the_last_one_finishes(internal):
    with (
        dataset_lock(internal, (0, 3)) as first,
        dataset_lock(internal, (1, 3)) as second,
        dataset_lock(internal, (2, 3)) as idle,
    ):
        first.announce(settings={})
        second.announce(settings={})
        with first.finishing() as alone:
            assert not alone
        with second.finishing() as alone:
            assert alone
            with pytest.raises(BlockingIOError), (internal / "choice.lock").open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no other slice may begin
        with idle.finishing() as alone:
            assert alone
    assert (internal / "lock.2-of-3").read_bytes() == b""
