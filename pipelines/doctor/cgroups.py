"""The limits that a container or batch system sets through control groups, of either version."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

Value = TypeVar("Value")

MOUNT: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")
UNLIMITED: Final = 2**60
"""Version 1 writes a number near 2**63 where memory is not limited."""


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """What this process may use; None where nothing limits it."""

    cpus: float | None
    """CPU seconds for each second."""
    memory_bytes: int | None


def read_limits(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> CgroupLimits:
    """Return the strictest limits of this process's groups and of all groups above them."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return CgroupLimits(None, None)
    cpus: list[float] = []
    memory: list[int] = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        for name in controllers.split(",") if controllers else ("", "unified"):
            for folder in _with_parents(mount / name, group):
                cpus += _cpu_quota(folder)
                memory += _memory_limit(folder)
    return CgroupLimits(min(cpus, default=None), min(memory, default=None))


def _with_parents(mounted: Path, group: str) -> Iterator[Path]:
    """Yield the folders from a group up to the mount point: a container sees only the latter."""
    folder = mounted / group.lstrip("/")
    while folder != mounted and folder.is_relative_to(mounted):
        yield folder
        folder = folder.parent
    yield mounted


def _cpu_quota(folder: Path) -> list[float]:
    if both := _read(folder / "cpu.max", str.split):  # version 2
        quota, period = both
        return [] if quota == "max" else [int(quota) / int(period)]
    quota_us, period_us = _read(folder / "cpu.cfs_quota_us", int), _read(folder / "cpu.cfs_period_us", int)
    return [quota_us / period_us] if quota_us and period_us and quota_us > 0 else []


def _memory_limit(folder: Path) -> list[int]:
    for name in ("memory.max", "memory.limit_in_bytes"):
        if (limit := _read(folder / name, int)) is not None and limit < UNLIMITED:
            return [limit]
    return []


def _read(path: Path, parse: Callable[[str], Value]) -> Value | None:
    """Read one value; None where there is none, such as `max`."""
    try:
        return parse(path.read_text().strip())
    except (OSError, ValueError):
        return None
