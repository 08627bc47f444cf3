"""One driver at a time across machines: in storage, and in a folder that machines share."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mvcap import beats, leases
from mvcap.beats import Beats
from mvcap.cells import read_cell, swap_cell
from mvcap.errors import DatasetLockedError, LockLostError, OutputError, UsageError
from mvcap.holds import Hold, Part
from mvcap.locks import dataset_lock, drivers_at_work, file_system
from mvcap.owners import Owner
from mvcap.places import ObjectPlace, Place
from mvcap.register import WHOLE, Register

QUICK_BEAT_S, QUICK_EXPIRY_S = 0.05, 1.0

HOLD = """
import pickle, sys
from mvcap.locks import dataset_lock
internal, part = pickle.load(sys.stdin.buffer)
with dataset_lock(internal, part) as held:
    held.announce()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["storage", "folder"])
def internal(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(leases, "POLL_S", 0.02)
    monkeypatch.setattr(leases, "CONTENTION_S", 0.02)
    monkeypatch.setattr(beats, "BEAT_S", QUICK_BEAT_S)
    monkeypatch.setattr(beats, "EXPIRES_S", QUICK_EXPIRY_S)
    if request.param == "storage":
        return ObjectPlace(request.getfixturevalue("s3").bucket, "dataset/_mvcap")
    monkeypatch.setenv("MVCAP_LOCKS", "lease")
    return tmp_path / "dataset" / "_mvcap"


class Elsewhere:
    """A driver of another machine: in the register, and with a heart that beats until it is stopped."""

    def __init__(self, internal: Place, name: str = WHOLE, **facts: Any) -> None:
        self.owner = replace(Owner.this(), host="elsewhere", machine="another", pid=7, facts=facts or None)
        self._heart = ExitStack()
        self._heart.enter_context(Beats(internal / "lease").beating(self.owner.token))
        register, version = read_cell(internal / "lease/register")
        owners = Register.from_bytes(register).owners | {name: self.owner}
        assert swap_cell(internal / "lease/register", Register(owners).to_bytes(), version)

    def die(self) -> None:
        """Stop beating, and leave everything as it is."""
        with patch.object(Beats, "forget", lambda *_: None):
            self._heart.close()

    def leave(self) -> None:
        """Stop beating, unless it is dead already."""
        self._heart.close()


@pytest.fixture
def elsewhere(internal: Place) -> Iterator[Callable[..., Elsewhere]]:
    drivers: list[Elsewhere] = []

    def start(name: str = WHOLE, **facts: Any) -> Elsewhere:
        drivers.append(Elsewhere(internal, name, **facts))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.leave()


def refusal(internal: Place, part: Part | None = None, **options: Any) -> str:
    with pytest.raises(DatasetLockedError) as caught, dataset_lock(internal, part, **options):
        pass
    return str(caught.value)


def assert_free(internal: Place, part: Part | None = None, **options: Any) -> None:
    with dataset_lock(internal, part, **options):
        pass


# one machine


def test_a_second_driver_is_refused_with_dataset_process_host_and_age(internal: Place):
    with dataset_lock(internal):
        message = refusal(internal)
    owner = rf"process {os.getpid()} on {re.escape(socket.gethostname())}, for \d+ s"
    assert re.match(f"{internal.parent} is in use by {owner};", message)
    assert "run the same command" in message
    assert "--steal-lock" not in message
    assert_free(internal)


def test_the_lease_of_a_killed_driver_of_this_machine_is_free_at_once(internal: Place):
    import pickle

    driver = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert driver.stdin
    assert driver.stdout
    pickle.dump((internal, None), driver.stdin)
    driver.stdin.flush()
    assert driver.stdout.readline() == b"held\n"
    assert f"process {driver.pid} " in refusal(
        internal, steal=True
    )  # one that can be ended is not stolen from
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    told: list[str] = []
    assert_free(internal, tell=told.append)
    assert told == []


def test_a_pid_that_is_used_again_is_not_taken_for_its_owner(internal: Place, elsewhere: Any):
    owner = elsewhere().owner
    here = Owner.this()
    _, version = read_cell(internal / "lease/register")
    earlier = replace(owner, machine=here.machine, pid=here.pid, started=here.started - 1)
    swap_cell(internal / "lease/register", Register({WHOLE: earlier}).to_bytes(), version)
    assert_free(internal)


def test_the_lease_is_free_again_after_an_error(internal: Place):
    def fail() -> None:
        with dataset_lock(internal):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert Register.from_bytes(read_cell(internal / "lease/register")[0]) == Register()
    assert Beats(internal / "lease").read(Owner.this().token) is None


def test_of_many_that_come_at_once_one_gets_it(internal: Place):
    start, got = threading.Barrier(6), []
    everyone_tried = threading.Barrier(6)

    def come(_: int) -> None:
        start.wait()
        try:
            with dataset_lock(internal):
                got.append(1)
                everyone_tried.wait(30)
        except DatasetLockedError:
            everyone_tried.wait(30)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(come, range(6)))
    assert got == [1]


# another machine


def test_a_living_driver_of_another_machine_is_waited_for_and_named(internal: Place, elsewhere: Any):
    elsewhere()
    told: list[str] = []
    message = refusal(internal, tell=told.append)
    assert "in use by process 7 on elsewhere, for " in message
    assert "--steal-lock takes it over" in message
    assert len(told) == 1
    assert "process 7 on elsewhere: waiting up to" in told[0]


def test_a_dead_driver_of_another_machine_is_replaced_when_its_counter_stood_still(
    internal: Place, elsewhere: Any
):
    driver = elsewhere()
    driver.die()
    told: list[str] = []
    assert_free(internal, tell=told.append)
    assert len(told) == 1
    assert Beats(internal / "lease").read(driver.owner.token) is None


def test_the_lease_of_another_machine_can_be_stolen_without_waiting(internal: Place, elsewhere: Any):
    elsewhere()
    told: list[str] = []
    assert_free(internal, steal=True, tell=told.append)
    assert told == []


def test_no_decision_comes_from_another_clock(
    internal: Place, elsewhere: Any, monkeypatch: pytest.MonkeyPatch
):
    driver = elsewhere()
    for now_s in (0.0, 4e9):
        monkeypatch.setattr("time.time", lambda now_s=now_s: now_s)
        assert re.search(r"elsewhere, for \d s;", refusal(internal))
    driver.die()
    assert_free(internal)


def test_who_lost_the_lease_is_told_before_a_commit_and_takes_nothing_back(internal: Place):
    with dataset_lock(internal) as first:
        first.guard()
        _, version = read_cell(internal / "lease/register")
        thief = replace(Owner.this(), host="elsewhere", machine="another", pid=7)
        swap_cell(internal / "lease/register", Register({WHOLE: thief}).to_bytes(), version)
        with pytest.raises(LockLostError, match="process 7 on elsewhere has taken it over"):
            first.guard()
        with pytest.raises(LockLostError):
            first.announce()
        with pytest.raises(LockLostError), first.choosing():
            pass
    assert Register.from_bytes(read_cell(internal / "lease/register")[0]).owners == {WHOLE: thief}


def test_a_driver_beats_for_as_long_as_it_holds(internal: Place, monkeypatch: pytest.MonkeyPatch):
    with dataset_lock(internal):
        [owner] = Register.from_bytes(read_cell(internal / "lease/register")[0]).owners.values()
        elsewhere = replace(owner, machine="another")
        watch = beats.Watch(Beats(internal / "lease"))
        while (verdict := watch.verdict(elsewhere)) is None:
            pass
        assert verdict


# slices


def test_slices_run_side_by_side_and_each_only_once(internal: Place):
    with dataset_lock(internal, (0, 2)), dataset_lock(internal, (1, 2)):
        assert f"process {os.getpid()} " in refusal(internal, (0, 2))
        assert f"process {os.getpid()} " in refusal(internal)
    with dataset_lock(internal):
        assert "is in use" in refusal(internal, (0, 2))
    assert_free(internal, (0, 2))


def test_slices_learn_what_the_others_chose_and_whether_they_live(internal: Place, elsewhere: Any):
    living, dead = (
        elsewhere("1-of-3", settings={"render": "a"}),
        elsewhere("2-of-3", settings={"render": "b"}),
    )
    dead.die()
    with dataset_lock(internal, (0, 3)) as held, held.choosing():
        others = {slice_.facts["settings"]["render"]: slice_.lives() for slice_ in held.slices_at_work()}
    assert others == {"a": True, "b": False}
    assert living.owner.token != dead.owner.token


def test_one_slice_chooses_at_a_time(internal: Place):
    choosing: list[str] = []

    def choose(held: Hold, name: str) -> None:
        with held.choosing():
            choosing.append(name)
            assert choosing == [name]
            choosing.clear()

    with (
        dataset_lock(internal, (0, 3)) as first,
        dataset_lock(internal, (1, 3)) as second,
        dataset_lock(internal, (2, 3)) as third,
        ThreadPoolExecutor(3) as pool,
    ):
        list(pool.map(choose, [first, second, third] * 3, "abc" * 3))


def test_a_slice_that_died_while_it_chose_holds_up_the_others_until_it_expires(
    internal: Place, elsewhere: Any
):
    driver = elsewhere("1-of-2")
    content, version = read_cell(internal / "lease/register")
    register = replace(Register.from_bytes(content), choosing=driver.owner.token)
    assert swap_cell(internal / "lease/register", register.to_bytes(), version)
    driver.die()
    with dataset_lock(internal, (0, 2)) as held, held.choosing():
        pass


def test_of_slices_that_end_together_the_last_one_finishes(internal: Place):
    with dataset_lock(internal, (0, 2)) as first, dataset_lock(internal, (1, 2)) as second:
        first.announce(settings={})
        second.announce(settings={})
        with first.finishing() as alone:
            assert not alone
        with second.finishing() as alone:
            assert alone


def test_who_is_at_work_is_listed_and_dead_processes_of_this_machine_are_not(internal: Place, elsewhere: Any):
    elsewhere("1-of-3", settings={})
    with dataset_lock(internal, (0, 3)) as held:
        assert [driver["slice"] for driver in drivers_at_work(internal)] == ["1/3"]  # nothing announced yet
        held.announce(settings={"render": "a"})
        mine, other = drivers_at_work(internal)
        assert (mine["pid"], mine["slice"], mine["settings"]) == (os.getpid(), "0/3", {"render": "a"})
        assert (other["host"], other["slice"]) == ("elsewhere", "1/3")
    assert [driver["slice"] for driver in drivers_at_work(internal)] == ["1/3"]


# the record


def test_a_cell_keeps_the_last_of_many_swaps_and_loses_none(internal: Place):
    def join(name: int) -> None:
        while True:
            content, version = read_cell(internal / "cell")
            joined = sorted({*json.loads(content or b"[]"), name})  # a swap that may be made twice
            if swap_cell(internal / "cell", json.dumps(joined).encode(), version):
                return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(join, range(20)))
    assert json.loads(read_cell(internal / "cell")[0]) == list(range(20))


def test_a_swap_of_an_old_version_is_refused_even_when_its_number_is_free_again(internal: Place):
    assert swap_cell(internal / "cell", b"1", None)
    _, old = read_cell(internal / "cell")
    for step in range(3):
        assert swap_cell(internal / "cell", f"later {step}".encode(), read_cell(internal / "cell")[1])
    assert not swap_cell(internal / "cell", b"late", old)
    assert not swap_cell(internal / "cell", b"late", None)
    assert read_cell(internal / "cell")[0] == b"later 2"


def test_a_damaged_register_holds_nobody(internal: Place):
    for content in (b"{", b"[]", b'{"owners": {"whole": {"odd": 1}}}', b'{"owners": 3}'):
        swap_cell(internal / "lease/register", content, read_cell(internal / "lease/register")[1])
        assert_free(internal)


# which kind


def test_folders_take_flocks_unless_machines_share_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MVCAP_LOCKS", raising=False)
    assert_free(tmp_path / "local")
    assert (tmp_path / "local" / "lock").exists()
    monkeypatch.setattr("mvcap.locks.file_system", lambda _: "nfs4")
    assert_free(tmp_path / "shared")
    assert (tmp_path / "shared" / "lease").exists()
    monkeypatch.setenv("MVCAP_LOCKS", "flock")
    assert_free(tmp_path / "chosen")
    assert (tmp_path / "chosen" / "lock").exists()
    monkeypatch.setenv("MVCAP_LOCKS", "none")
    with pytest.raises(UsageError, match="MVCAP_LOCKS=none must be flock or lease"):
        assert_free(tmp_path / "odd")


def test_the_file_system_is_that_of_the_deepest_mount(tmp_path: Path):
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(Path("/proc/self/not/there")) == "proc"
    assert file_system(tmp_path) not in ("", "proc")


def test_mounts_may_have_any_name(tmp_path: Path):
    """Blanks are escaped in the list of mounts; letters of other languages, and what is no text, are not."""
    mounts = tmp_path / "mountinfo"
    names = [b"/", "/mnt/größe\\040eins".encode(), b"/media/Donn\xe9es", "/mnt/\u2028".encode()]
    types = [b"ext4", b"nfs4", b"vfat", b"lustre"]
    lines = [b"1 1 0:1 / %b rw - %b src rw\n" % pair for pair in zip(names, types, strict=True)]
    mounts.write_bytes(b"".join(lines))
    assert file_system(Path("/mnt/größe eins/data"), mounts) == "nfs4"
    assert file_system(Path("/mnt/\u2028/data"), mounts) == "lustre"
    assert file_system(Path("/mnt/other"), mounts) == "ext4"


def test_a_shared_folder_that_cannot_be_written_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MVCAP_LOCKS", "lease")
    (tmp_path / "lease").write_text("a file")
    with pytest.raises(OutputError, match="cannot write to"):
        assert_free(tmp_path)


def test_an_owner_survives_its_record(internal: Place):
    owner = replace(Owner.this(), facts={"settings": {"render": "a"}})
    assert Register.from_bytes(Register({WHOLE: owner}, "x").to_bytes()) == Register({WHOLE: owner}, "x")
    assert owner.lives_here
    assert json.loads(json.dumps(owner.to_json()))["pid"] == os.getpid()
