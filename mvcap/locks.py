"""One driver at a time for a dataset, or for each of its slices.

On a disk of this machine that is a `flock`, which a dead driver lets go of. In storage, and in a folder that
machines share over a network, it is a lease, which a dead driver of another machine lets expire.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mvcap.errors import UsageError
from mvcap.flocks import drivers_with_flocks, flock_dataset
from mvcap.holds import Hold, Part
from mvcap.leases import Lease, drivers_with_leases
from mvcap.places import Place

CHOICE: Final = "MVCAP_LOCKS"
"""`lease` or `flock` for folders, where it cannot be told whether machines share them."""
MOUNTS: Final = Path("/proc/self/mountinfo")
OCTAL: Final = re.compile(r"\\([0-7]{3})")
"""How it writes blanks, line breaks and backslashes in a name; all other bytes stand as they are."""
SHARED: Final = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "gfs2", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3", "wekafs"}
    | {f"fuse.{name}" for name in ("ceph", "gcsfuse", "glusterfs", "juicefs", "s3fs", "sshfs", "weka")}
)
"""Types of file systems that several machines may see, as `/proc/self/mountinfo` names them."""


@contextmanager
def dataset_lock(
    internal: Place,
    part: Part | None = None,
    *,
    steal: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Hold]:
    """Hold a dataset: alone, or one slice of it beside the holders of other slices.

    Args:
        steal: take the lease of a driver on another machine that has not expired yet.
        tell: hears why nothing happens for a while.

    Raises:
        DatasetLockedError: another driver holds it; the message names host, pid and age.
        OutputError: its place cannot be written.
    """
    if isinstance(internal, Path) and not _shared(internal):
        with flock_dataset(internal, part) as flock:
            yield flock
        return
    lease = Lease(internal, part, steal=steal, tell=tell)
    with lease.held():
        yield lease


def drivers_at_work(internal: Place) -> list[dict[str, Any]]:
    """List who has announced to be at work, with `host`, `pid`, `since` and the `slice`, None for all.

    Takes no lock, so that looking disturbs nobody. A driver that died on another machine is listed until
    somebody takes its place.
    """
    if isinstance(internal, Path) and not _shared(internal):
        return drivers_with_flocks(internal)
    return drivers_with_leases(internal)


def _shared(folder: Path) -> bool:
    chosen = os.environ.get(CHOICE, "")
    if chosen not in ("", "flock", "lease"):
        raise UsageError(f"{CHOICE}={chosen} must be flock or lease")
    return chosen == "lease" if chosen else file_system(folder) in SHARED


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """Name the type of the file system that a folder is, or would be, on; empty where that cannot be told."""
    resolved, found = folder.resolve(), ("", "")
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").rstrip("\n").split("\n")
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        mount = OCTAL.sub(lambda found: chr(int(found[1], 8)), before.split(" ")[4])
        if resolved.is_relative_to(mount) and len(mount) >= len(found[0]):
            found = mount, after.split(" ")[0]
    return found[1]
