"""One CPU core for each child, shared out between all processes of a user on this machine.

Two bound children are as fast as one child with all threads; two unbound ones fight, and the
denoiser's threads spin while they wait (measured 2026-11: twice the CPU for the same pictures). A lease
is a `flock` on a small file, so it ends with its process however that dies.
"""

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class CoreLease:
    """The right to keep one core busy, until `release` or the end of the process."""

    core: int
    slot: BinaryIO

    def release(self) -> None:
        self.slot.close()


def default_slot_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"mvcap-cores-{os.getuid()}"


def lease_core(slot_folder: Path) -> CoreLease | None:
    """Lease the lowest free core that this process may use.

    Returns:
        None where every core is taken, where the system has no affinity (macOS) or where the folder cannot
        be written: the child then runs unbound, which costs time and nothing else.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    try:
        slot_folder.mkdir(mode=0o700, exist_ok=True)
        return lease_lowest(slot_folder, sorted(os.sched_getaffinity(0)))
    except OSError:
        return None


def lease_lowest(slot_folder: Path, cores: list[int]) -> CoreLease | None:
    for core in cores:
        slot = (slot_folder / f"core-{core}").open("ab")
        try:
            fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            slot.close()
        else:
            return CoreLease(core, slot)
    return None
