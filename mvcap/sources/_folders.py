"""Walk a folder of somebody's files."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from mvcap.errors import AssetFolderError


def readable_folder(path: Path, what: str) -> Path:
    """Return a folder's absolute path.

    Raises:
        AssetFolderError: there is none; `what` says what it should hold.
    """
    root = path.expanduser().absolute()
    if not root.is_dir():
        problem = f"{path} is a file" if root.exists() else f"there is no folder {path}"
        raise AssetFolderError(f"{problem}; give the folder that holds your {what}")
    return root


def walk_files(root: Path, suffixes: Collection[str] | None = None) -> Iterator[Path]:
    """Yield the files below a folder, but hidden ones, whose suffix is among these, or all of them.

    Links are followed, each folder once.

    Raises:
        AssetFolderError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise AssetFolderError(f"cannot read {error.filename}: {error.strerror}") from error

    seen: set[Path] = set()
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        if (real := Path(folder).resolve()) in seen:  # a link that leads back
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in names:
            path = Path(folder) / name
            if not name.startswith(".") and (suffixes is None or path.suffix.lower() in suffixes):
                yield path


def subfolders(root: Path) -> list[str]:
    """Return the names of a folder's folders, but hidden ones, sorted.

    Raises:
        AssetFolderError: it cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")
    except OSError as error:
        raise AssetFolderError(f"cannot read {root}: {error.strerror}") from error


def is_utf8(path: Path | str) -> bool:
    """Tell whether a table can hold a path or a name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
