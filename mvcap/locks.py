"""One driver at a time: `flock`, which dies with its owner, so a killed driver leaves nothing behind."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from mvcap.errors import DatasetLockedError

Part = tuple[int, int]
"""Slice K of N, 0 <= K < N."""


@contextmanager
def dataset_lock(internal: Path, part: Part | None = None) -> Iterator[Callable[[], None]]:
    """Hold a dataset: alone, or one slice of it beside the holders of other slices.

    Gives a function that writes into the lock who holds it; call it before the first change, so that a
    run with nothing to do leaves the dataset untouched.

    Raises:
        DatasetLockedError: another driver holds it; the message names host, pid and age.
    """
    internal.mkdir(parents=True, exist_ok=True)
    with (internal / "lock").open("a+") as whole:
        if part is None:
            _acquire(whole, fcntl.LOCK_EX, internal)
            with _announcing(whole) as announce:
                yield announce
            return
        _acquire(whole, fcntl.LOCK_SH, internal)
        with (internal / f"lock.{part[0]}-of-{part[1]}").open("a+") as own:
            _acquire(own, fcntl.LOCK_EX, internal)
            with _announcing(own) as announce:
                yield announce


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold a lock file for a moment; whoever comes second waits."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _acquire(file: IO[str], mode: int, internal: Path) -> None:
    try:
        fcntl.flock(file, mode | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DatasetLockedError(_refusal(Path(file.name), internal)) from error


@contextmanager
def _announcing(file: IO[str]) -> Iterator[Callable[[], None]]:
    """Give the function that writes who holds the lock; what it wrote is gone when the lock is."""
    announced = False

    def announce() -> None:
        nonlocal announced
        announced = True
        file.truncate(0)
        file.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}))
        file.flush()

    try:
        yield announce
    finally:
        if announced:
            file.truncate(0)


def _refusal(refused: Path, internal: Path) -> str:
    """Say who is at work; a whole build is also refused for the sake of slices, each with its own file."""
    slices = sorted(internal.glob("lock.*")) if refused.name == "lock" else []
    owners = [owner for path in (refused, *slices) if (owner := _living_owner(path))]
    return (
        f"{internal.parent} is in use by {owners[0] if owners else 'another driver'}; wait for it to end, or "
        "end that process and run the same command"
    )


def _living_owner(path: Path) -> str | None:
    """Read who holds a lock, unless that is a killed driver, whose name stays behind."""
    try:
        owner = json.loads(path.read_bytes())
        host, pid, age_s = str(owner["host"]), int(owner["pid"]), time.time() - float(owner["since"])
        alive = host != socket.gethostname() or psutil.pid_exists(pid)
    except (OSError, OverflowError, ValueError, KeyError, TypeError):
        return None
    return f"process {pid} on {host}, for {max(age_s, 0):.0f} s" if alive else None
