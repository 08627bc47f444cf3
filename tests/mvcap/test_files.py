"""Files that are either wholly there or not at all."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mvcap import files, schema
from mvcap.errors import DiskFullError
from mvcap.tables import TableWriter


class PowerCut(BaseException):
    """Ends a test's work at any point, and is caught by nothing of ours."""


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_temporary_names_are_unique_hidden_and_beside_their_file(tmp_path: Path):
    names = {files.temporary_name(tmp_path / "x.json") for _ in range(100)}
    assert len(names) == 100
    assert {name.parent for name in names} == {tmp_path}
    assert all(name.name.startswith(".attempt-") and name.name.endswith("-x.json") for name in names)


def test_staged_writes_replace_the_old_file_and_make_its_folders(tmp_path: Path):
    path = tmp_path / "a" / "b" / "x"
    files.write_bytes(path, b"old")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert entries(path.parent) == ["x"]


@pytest.mark.parametrize("fault", [ValueError("bug"), KeyboardInterrupt(), PowerCut()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, fault: BaseException):
    path = tmp_path / "x"
    files.write_bytes(path, b"old")

    def write_half() -> None:
        with files.staged(path) as temporary:
            temporary.write_bytes(b"half")
            raise fault

    with pytest.raises(type(fault)):
        write_half()
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["x"]


def test_sigkill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "x"
    files.write_bytes(path, b"old")
    code = (
        "import os, sys; from pathlib import Path; from mvcap import files\n"
        "with files.staged(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_json_is_canonical_and_ends_with_a_newline(tmp_path: Path):
    files.write_json(tmp_path / "x", {"b": 1, "a": "ü"})
    assert (tmp_path / "x").read_text("utf-8") == '{\n "a": "ü",\n "b": 1\n}\n'


def test_what_cannot_be_json_leaves_the_old_file(tmp_path: Path):
    files.write_json(tmp_path / "x", 1)
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "x", object())
    assert entries(tmp_path) == ["x"]


# create_if_absent


def test_the_second_creation_fails_and_changes_nothing(tmp_path: Path):
    assert files.create_if_absent(tmp_path / "x", b"first")
    assert not files.create_if_absent(tmp_path / "x", b"second")
    assert (tmp_path / "x").read_bytes() == b"first"
    assert entries(tmp_path) == ["x"]


def _race(barrier, root: str, name: str, won) -> None:  # type: ignore[no-untyped-def]
    for turn in range(60):
        barrier.wait()
        if files.create_if_absent(Path(root) / f"{turn:03d}", name.encode() * 1000):
            won.put((turn, name))


def test_of_two_racing_processes_exactly_one_creates_each_file(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    barrier, won = context.Barrier(2), context.Queue()
    racers = [context.Process(target=_race, args=(barrier, str(tmp_path), name, won)) for name in "ab"]
    for racer in racers:
        racer.start()
    wins = dict(won.get(timeout=30) for _ in range(60))
    for racer in racers:
        racer.join(30)
    assert won.empty()
    assert entries(tmp_path) == [f"{turn:03d}" for turn in range(60)]
    assert all((tmp_path / f"{turn:03d}").read_bytes() == name.encode() * 1000 for turn, name in wins.items())


# disk full


def test_a_full_disk_is_explained_and_the_temporary_file_gone(tiny_disk: Path):
    files.write_bytes(tiny_disk / "x", b"old")
    with pytest.raises(DiskFullError, match=r"no space left to write .*disk/x: No space left on device"):
        files.write_bytes(tiny_disk / "x", b"new" * 100_000)
    assert (tiny_disk / "x").read_bytes() == b"old"
    assert entries(tiny_disk) == ["x"]


def test_a_file_moves_to_another_disk_whole_or_not_at_all(tmp_path: Path, tiny_disk: Path):
    (tmp_path / "x").write_bytes(b"rows")
    (tiny_disk / "data").mkdir()
    files.move(tmp_path / "x", tiny_disk / "data/x")
    assert (tiny_disk / "data/x").read_bytes() == b"rows"
    assert not (tmp_path / "x").exists()
    (tmp_path / "large").write_bytes(b"x" * 2**17)
    with pytest.raises(DiskFullError, match="no space left"):
        files.move(tmp_path / "large", tiny_disk / "data/large")
    assert entries(tiny_disk / "data") == ["x"]
    assert (tmp_path / "large").exists()


def test_a_record_does_not_come_into_being_on_a_full_disk(tiny_disk: Path):
    with pytest.raises(DiskFullError):
        files.create_if_absent(tiny_disk / "x", b"new" * 100_000)
    assert entries(tiny_disk) == []


def test_a_full_disk_under_a_parquet_file_is_explained_too(tiny_disk: Path):
    rows = [{"uid": os.urandom(40_000).hex(), "stage": "s", "reason": "r", "attempts": 1, "message": ""}]

    def write_too_much() -> None:
        with (
            files.staged(tiny_disk / "x.parquet") as path,
            TableWriter(path, schema.FAILURE_SCHEMA) as writer,
        ):
            for _ in range(5):
                writer.write(rows)

    with pytest.raises(DiskFullError):
        write_too_much()
    assert entries(tiny_disk) == []


def test_the_kernels_own_disk_full_error_is_explained_without_any_mount(tmp_path: Path):

    def write_to_a_full_device() -> None:
        with files.staged(tmp_path / "x") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"new" * 10_000)

    with pytest.raises(DiskFullError):
        write_to_a_full_device()
    assert entries(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_space_and_quota_are_told_alike(number: int):
    with pytest.raises(DiskFullError, match=os.strerror(number)), files.disk_full_explained(Path("x")):
        raise OSError(number, os.strerror(number))


def test_other_errors_of_the_system_pass_unchanged():
    with pytest.raises(PermissionError), files.disk_full_explained(Path("x")):
        raise PermissionError(errno.EACCES, "denied")
    with pytest.raises(pa.ArrowInvalid), files.disk_full_explained(Path("x")):
        raise pa.ArrowInvalid("broken")


def test_checksums_are_sha256(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "x").startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1


def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("MVCAP_CACHE", raising=False)
    assert files.cache_folder() == tmp_path / "mvcap"
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "own"))
    assert files.cache_folder() == tmp_path / "own"


def test_a_file_system_without_links_still_creates_exclusively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert files.create_if_absent(tmp_path / "record", b"first")
    assert not files.create_if_absent(tmp_path / "record", b"second")
    assert (tmp_path / "record").read_bytes() == b"first"
