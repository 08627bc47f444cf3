"""One driver at a time on one machine: `flock`, which dies with its owner, so nothing is left behind."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from mvcap.errors import DatasetLockedError, OutputError
from mvcap.holds import Guard, Part, SliceAtWork, unguarded
from mvcap.local_files import disk_full_explained


class Flock:
    """A dataset, or a slice of one, held by this process (`mvcap.holds.Hold`)."""

    def __init__(self, internal: Path, part: Part | None, file: IO[str]) -> None:
        self._internal = internal
        self._part = part
        self._file = file
        self._announced = False

    @property
    def guard(self) -> Guard:
        return unguarded

    def announce(self, **facts: Any) -> None:
        """See `mvcap.holds.Hold.announce`; what it writes is gone when the lock is.

        Raises:
            DiskFullError: there is no room for it; the lock is held all the same.
        """
        self._announced = True
        self._file.truncate(0)
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        with disk_full_explained(Path(self._file.name)):
            # Nothing may stay in a buffer: it would be written, and fail, again when the file is closed.
            os.write(self._file.fileno(), json.dumps(who | facts).encode())

    def choosing(self) -> AbstractContextManager[None]:
        """See `mvcap.holds.Hold.choosing`."""
        return _choosing(self._internal)

    @contextmanager
    def finishing(self) -> Iterator[bool]:
        """See `mvcap.holds.Hold.finishing`."""
        if self._part is None:
            yield True
            return
        with self.choosing():
            self.withdraw()
            yield next(self.slices_at_work(), None) is None

    def slices_at_work(self) -> Iterator[SliceAtWork]:
        """See `mvcap.holds.Hold.slices_at_work`."""
        for path in sorted(self._internal.glob("lock.*-of-*")):
            if self._part and path == _slice_lock(self._internal, self._part):
                continue
            with path.open("a+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    file.seek(0)
                    with suppress(ValueError, TypeError):
                        yield SliceAtWork(dict(json.loads(file.read())), lambda: True)

    def withdraw(self) -> None:
        """Take back what was announced, if anything was."""
        if self._announced:
            self._file.truncate(0)


@contextmanager
def flock_dataset(internal: Path, part: Part | None) -> Iterator[Flock]:
    """See `mvcap.locks.dataset_lock`; a run that announces nothing leaves the dataset untouched.

    Raises:
        DatasetLockedError: another driver holds it; the message names host, pid and age.
        OutputError: the folder cannot be written.
    """
    with _open(internal / "lock") as whole:
        if part is None:
            _acquire(whole, fcntl.LOCK_EX, internal)
            yield from _holding(Flock(internal, part, whole))
            return
        _acquire(whole, fcntl.LOCK_SH, internal)
        with _open(_slice_lock(internal, part)) as own:
            with _choosing(internal):  # `slices_at_work` holds this file for a moment, to see who lives
                _acquire(own, fcntl.LOCK_EX, internal)
            yield from _holding(Flock(internal, part, own))


def _holding(flock: Flock) -> Iterator[Flock]:
    try:
        yield flock
    finally:
        flock.withdraw()


def _slice_lock(internal: Path, part: Part) -> Path:
    return internal / f"lock.{part[0]}-of-{part[1]}"


def _choosing(internal: Path) -> AbstractContextManager[None]:
    return waiting_lock(internal / "choice.lock")


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock file for a moment; whoever comes second waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")
    except OSError as error:
        raise OutputError(f"cannot write to {path.parent}: {error.strerror or error}") from error


def _acquire(file: IO[str], mode: int, internal: Path) -> None:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DatasetLockedError(_refusal(Path(file.name), internal)) from error


def _refusal(refused: Path, internal: Path) -> str:
    """Say who is at work; a whole build is also refused for the sake of slices, each with its own file."""
    slices = sorted(internal.glob("lock.*")) if refused.name == "lock" else []
    owners = [owner for path in (refused, *slices) if (owner := _living_owner(path))]
    return (
        f"{internal.parent} is in use by {owners[0] if owners else 'another driver'}; wait for it to end, or "
        "end that process and run the same command"
    )


def drivers_with_flocks(internal: Path) -> list[dict[str, Any]]:
    """See `mvcap.locks.drivers_at_work`."""
    found = []
    for path in (internal / "lock", *sorted(internal.glob("lock.*-of-*"))):
        if driver := _living_driver(path):
            part = path.name.removeprefix("lock.").replace("-of-", "/") if path.name != "lock" else None
            found.append(driver | {"slice": part})
    return found


def _living_owner(path: Path) -> str | None:
    """Describe who holds a lock."""
    if (driver := _living_driver(path)) is None:
        return None
    age_s = max(time.time() - float(driver["since"]), 0)
    return f"process {driver['pid']} on {driver['host']}, for {age_s:.0f} s"


def _living_driver(path: Path) -> dict[str, Any] | None:
    """Read who holds a lock, unless that is a killed driver, whose name stays behind."""
    try:
        driver = dict(json.loads(path.read_bytes()))
        host, pid, _ = str(driver["host"]), int(driver["pid"]), float(driver["since"])
        alive = host != socket.gethostname() or psutil.pid_exists(pid)
    except (OSError, OverflowError, ValueError, KeyError, TypeError):
        return None
    return driver if alive else None
