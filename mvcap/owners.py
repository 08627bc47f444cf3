"""Who holds a lease: a process, and what can be told of it from here."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that holds a dataset, or a slice of it."""

    token: str
    """Of this one time that it is held."""
    host: str
    pid: int
    machine: str
    """Where the pid means something: one boot of one machine, and one container of it."""
    started: int
    """When the process began, in clock ticks since that boot: pids are used again."""
    facts: Mapping[str, Any] | None = None
    """What it has announced."""

    @classmethod
    def this(cls) -> "Owner":
        """Describe this process, with a new token."""
        pid = os.getpid()
        return cls(uuid4().hex, socket.gethostname(), pid, _machine(), _started(pid) or 0)

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, where this process can see it."""
        return self.machine == _machine()

    @property
    def lives_here(self) -> bool:
        """Whether it runs where this process can see it."""
        return self.is_here and _started(self.pid) == self.started

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    with suppress(OSError):
        return f"{boot.read_text().strip()}-{Path('/proc/self/ns/pid').stat().st_ino}"
    return socket.gethostname()


def _started(pid: int) -> int | None:
    """Return when a process began; None where there is none, or it has ended and nobody has asked how."""
    try:
        # The name of the program comes second, in parentheses, and may hold anything.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[18])
