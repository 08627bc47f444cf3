"""Files of a disk, or of a network file system, that are either wholly there or not.

Writing is temporary name, fsync, rename, fsync the folder.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from mvcap import fault_points
from mvcap.errors import DiskFullError
from mvcap.places import TEMPORARY, FileFacts, temporary_name

NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
"""What file systems without second names answer (exFAT, SMB), or where a file has too many."""


def probe(folder: Path) -> None:
    """Make sure that a folder exists, or can be made, and takes files; nothing is left in it.

    Raises:
        OSError: it does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=folder, prefix=TEMPORARY):
        pass


def facts(path: Path) -> FileFacts | None:
    """Return what a file tells of itself; a disk keeps no checksums. None where there is no such file."""
    try:
        return FileFacts(path.stat().st_size)
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_versioned(path: Path) -> tuple[bytes, str]:
    """Read a whole file, and what `replace` takes for its version.

    Raises:
        FileNotFoundError: there is none.
    """
    content = path.read_bytes()
    return content, hashlib.sha256(content).hexdigest()


def replace(path: Path, content: bytes, version: str) -> bool:
    """Write a file anew unless it has another version by now; return whether this call did.

    A disk cannot compare and write in one step: who may be two at once holds a lock.
    """
    try:
        unchanged = read_versioned(path)[1] == version
    except FileNotFoundError:
        return False
    if unchanged:
        write_bytes(path, content)
    return unchanged


def list_files(folder: Path) -> list[Path]:
    """List all files in a folder and below, sorted; none where there is no such folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def delete(path: Path) -> None:
    """Remove a file; nothing happens where there is none."""
    path.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Give a file another name, durably, replacing what has that name.

    To a folder that lies on another disk, as `data/` may by a link or a mount, it is copied.

    Raises:
        DiskFullError: that disk or quota is exhausted.
        FileNotFoundError: there is no source.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with staged(target) as copy:
            shutil.copyfile(source, copy)
        source.unlink(missing_ok=True)
    sync(target.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, on another file system a copy of it; neither is ever written in place.

    Raises:
        DiskFullError: the disk or quota is exhausted.
        FileNotFoundError: there is no source.
    """
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in (*NO_LINKS, errno.EXDEV):
            raise
        with disk_full_explained(target):
            shutil.copyfile(source, target)


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """Give the path itself to fill."""
    with disk_full_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path


def publish(scratch_file: Path, path: Path) -> FileFacts:
    """Make what was filled under `scratch` durable at its place."""
    assert scratch_file == path, f"{scratch_file} is not the scratch file of {path}"
    sync(scratch_file)
    return FileFacts(path.stat().st_size, sha256_of(path))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically and durably, replacing what was there."""
    with staged(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Give a temporary path to fill; on leaving, make it durable and rename it to `path`.

    Raises:
        DiskFullError: the disk or quota is exhausted; the temporary file is gone then.
    """
    temporary = temporary_name(path)
    try:
        with disk_full_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            fault_points.passing("staged.written")
            sync(temporary)
            fault_points.passing("staged.synced")
            temporary.replace(path)
            fault_points.passing("staged.renamed")
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def create_if_absent(path: Path, content: bytes) -> bool:
    """Write a file atomically unless it exists; return whether this call created it."""
    temporary = temporary_name(path)
    try:
        with disk_full_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            fault_points.passing("created.written")
            sync(temporary)
            fault_points.passing("created.synced")
            _link_or_create(temporary, path, content)
            fault_points.passing("created.named")
            sync(path.parent)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _link_or_create(temporary: Path, path: Path, content: bytes) -> None:
    """Give a file a second name, or write it anew where the file system has no links (exFAT, SMB).

    Raises:
        FileExistsError: the name is taken.
    """
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        with path.open("xb") as file:  # exclusive; torn by a crash, it is a damaged record and proves nothing
            file.write(content)
            os.fsync(file.fileno())


@contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn "no space left" and "quota exceeded" into an error that names the place."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no space left to write {path}: {error.strerror}; free some and run again"
            ) from error
        raise


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return where downloads and unpacked archives are kept: `MVCAP_CACHE`, else the user's cache folder."""
    if chosen := os.environ.get("MVCAP_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mvcap"
