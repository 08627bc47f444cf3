"""Unpack a furniture library (a zip file) once, into a folder named after its content."""

import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from mvcap import files
from mvcap.errors import AssetFolderError

MAX_ENTRIES = 50_000
MAX_UNPACKED_BYTES = 8 * 2**30
"""Caps against decompression bombs: the largest library known has 1,600 entries and 0.2 GB."""

DAMAGED = (OSError, EOFError, RuntimeError, ValueError, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile)
"""What `zipfile` raises on truncated, corrupt, encrypted or unknown content."""


def unpack_library(library: Path, folder: Path) -> Path:
    """Unpack a library below `folder`, unless that was done before, and return where it lies.

    Raises:
        AssetFolderError: the file is no zip, is damaged, too large, or holds a name outside its folder.
    """
    try:
        target = folder / f"{library.stem}-{files.sha256_of(library)[:16]}"
        if not target.exists():
            _unpack_atomically(library, target)
    except DAMAGED as error:
        raise AssetFolderError(f"cannot unpack the furniture library {library}: {error}") from error
    return target


def _unpack_atomically(library: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=files.TEMPORARY, dir=target.parent))
    try:
        with zipfile.ZipFile(library) as archive:
            _check(archive, library)
            archive.extractall(temporary)
        if not target.exists():
            temporary.rename(target)
    except OSError:
        if not target.exists():  # otherwise another process was first
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check(archive: zipfile.ZipFile, library: Path) -> None:
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > MAX_ENTRIES or unpacked > MAX_UNPACKED_BYTES:
        raise AssetFolderError(
            f"{library} would unpack to {len(entries)} files and {unpacked / 2**30:.1f} GB; "
            f"the limits are {MAX_ENTRIES} and {MAX_UNPACKED_BYTES / 2**30:.0f} GB"
        )
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in entry.filename:
            raise AssetFolderError(f"{library} holds the name {entry.filename!r}, outside its own folder")
