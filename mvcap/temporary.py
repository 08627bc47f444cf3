"""A folder for temporary files on this machine, which goes however the process that made it ends.

A process that is killed cannot tidy up, and Ray kills its actors at the end of each run: whoever opens the
next folder removes those that nobody holds any more. Who holds one is told by a `flock` on the folder.
"""

import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(slots=True)
class TemporaryFolder:
    """A folder that is ours until `remove`, or until the end of the process."""

    path: Path
    descriptor: int | None
    """Of the lock; None once the folder is removed."""

    @classmethod
    def open(cls, prefix: str) -> Self:
        """Make a folder, after removing those of the same prefix that killed processes left behind."""
        for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            remove_unheld(left)
        while True:
            path = Path(tempfile.mkdtemp(prefix=prefix))
            if (descriptor := hold(path)) is not None:
                return cls(path, descriptor)

    def remove(self) -> None:
        """Delete the folder with all that is in it; does nothing the second time."""
        if self.descriptor is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self.descriptor)
            self.descriptor = None


def hold(folder: Path) -> int | None:
    """Lock a new folder; None where another process took it for a forgotten one first."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if folder.exists():
        return descriptor
    os.close(descriptor)
    return None


def remove_unheld(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError:  # gone meanwhile, or somebody else's
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
