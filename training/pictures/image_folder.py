"""A folder for each class, with its pictures: ImageFolder, as most evaluation sets come."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mvcap.errors import CorruptDatasetError, EmptyInputError
from training.pictures import EncodedPicture, PictureTable
from training.pictures._classes import class_names
from training.pictures._tables import labelled_table

SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff"}  # torchvision's
)


class FolderPictures:
    """Every picture of an ImageFolder; each is an object of its own.

    Args:
        names: a file of class names, for labels that are none; see `class_names`.
        caption: a sentence with `{}` for the class, such as "a photo of a {}."; None gives no captions.

    Raises:
        EmptyInputError: there is no folder with a picture in it.
        UsageError: the file of names cannot be read, or lacks a class.
    """

    def __init__(self, folder: Path, *, names: Path | None = None, caption: str | None = None) -> None:
        self._folder = folder
        labels = sorted(path.name for path in folder.iterdir() if path.is_dir() and not _hidden(path))
        listed = [(label, name) for label in labels for name in _pictures(folder / label)]
        if not listed:
            raise EmptyInputError(f"{folder} has no folder of a class with pictures in it (0 pictures)")
        self.table: PictureTable = labelled_table(
            [label for label, _ in listed], class_names(labels, names), caption
        )
        self._names = [f"{label}/{name}" for label, name in listed]  # strings: paths take thrice the memory

    def key(self, row: int) -> str:
        """Name a picture by its class's folder and its file."""
        return self._names[row]

    def identity(self) -> str:
        """Hash the names: to read a million files would take hours."""
        return hashlib.sha256("\0".join(self._names).encode("utf-8", "surrogateescape")).hexdigest()[:16]

    def read(self, rows: Sequence[int]) -> list[EncodedPicture]:
        """Read files."""
        try:
            return [EncodedPicture((self._folder / self._names[row]).read_bytes()) for row in rows]
        except OSError as error:
            raise CorruptDatasetError(f"cannot read a picture: {error}") from error


def _pictures(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in files if not _hidden(path))


def _hidden(path: Path) -> bool:
    """Tell what a system or an editor leaves behind: `._1.jpg`, `.ipynb_checkpoints`."""
    return path.name.startswith(".")
