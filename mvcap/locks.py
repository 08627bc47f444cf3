"""One driver at a time: `flock`, which dies with its owner, so a killed driver leaves nothing behind."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil

from mvcap.errors import DatasetLockedError, OutputError

Part = tuple[int, int]
"""Slice K of N, 0 <= K < N."""


class Announce:
    """Writes into a held lock who holds it, and what for."""

    def __init__(self, lock: IO[str]) -> None:
        self._lock = lock
        self._announced = False

    def __call__(self, **facts: Any) -> None:
        """Tell other drivers; `facts` are plain JSON values for `slices_at_work`."""
        self._announced = True
        self._lock.truncate(0)
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        self._lock.write(json.dumps(who | facts))
        self._lock.flush()

    def withdraw(self) -> None:
        """Take back what was told, if anything was."""
        if self._announced:
            self._lock.truncate(0)


@contextmanager
def dataset_lock(internal: Path, part: Part | None = None) -> Iterator[Announce]:
    """Hold a dataset: alone, or one slice of it beside the holders of other slices.

    Gives a function that writes into the lock who holds it; call it before the first change, so that a
    run with nothing to do leaves the dataset untouched.

    Raises:
        DatasetLockedError: another driver holds it; the message names host, pid and age.
        OutputError: the folder cannot be written.
    """
    with _open(internal / "lock") as whole:
        if part is None:
            _acquire(whole, fcntl.LOCK_EX, internal)
            with _announcing(whole) as announce:
                yield announce
            return
        _acquire(whole, fcntl.LOCK_SH, internal)
        with _open(slice_lock(internal, part)) as own:
            with choosing(internal):  # `slices_at_work` holds this file for a moment, to see who lives
                _acquire(own, fcntl.LOCK_EX, internal)
            with _announcing(own) as announce:
                yield announce


def slice_lock(internal: Path, part: Part) -> Path:
    return internal / f"lock.{part[0]}-of-{part[1]}"


@contextmanager
def choosing(internal: Path) -> Iterator[None]:
    """Hold the right to choose what a slice will do; other slices wait, so keep it short."""
    with waiting_lock(internal / "choice.lock"):
        yield


def slices_at_work(internal: Path, own: Part | None) -> Iterator[dict[str, Any]]:
    """Yield what every other slice at work has announced; call it inside `choosing`.

    A slice that is held but has announced nothing is left out: it has not chosen yet, and will look here.
    """
    for path in sorted(internal.glob("lock.*-of-*")):
        if own and path == slice_lock(internal, own):
            continue
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                with suppress(ValueError, TypeError):
                    yield dict(json.loads(file.read()))


@contextmanager
def finishing(internal: Path, part: Part | None, announce: Announce) -> Iterator[bool]:
    """Tell whether no other slice is at work, and let none begin until the end: then all can be read.

    Of slices that end together, the last one is told so.
    """
    if part is None:
        yield True
        return
    with choosing(internal):
        announce.withdraw()
        yield next(slices_at_work(internal, part), None) is None


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock file for a moment; whoever comes second waits."""
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


@contextmanager
def _announcing(file: IO[str]) -> Iterator[Announce]:
    """Give what writes who holds the lock; what it wrote is gone when the lock is."""
    announce = Announce(file)
    try:
        yield announce
    finally:
        announce.withdraw()


def _refusal(refused: Path, internal: Path) -> str:
    """Say who is at work; a whole build is also refused for the sake of slices, each with its own file."""
    slices = sorted(internal.glob("lock.*")) if refused.name == "lock" else []
    owners = [owner for path in (refused, *slices) if (owner := _living_owner(path))]
    return (
        f"{internal.parent} is in use by {owners[0] if owners else 'another driver'}; wait for it to end, or "
        "end that process and run the same command"
    )


def drivers_at_work(internal: Path) -> list[dict[str, Any]]:
    """List who has announced to be at work, with `host`, `pid`, `since` and the `slice`, None for all.

    Takes no lock, so that looking disturbs nobody.
    """
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
