"""Pictures behind the objects: which of a folder stands behind which view."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mvcap.errors import UsageError
from mvcap.files import sha256_of
from mvcap.pictures import UNDECODABLE
from mvcap.plan import stable_hash

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Backgrounds:
    """A folder of pictures, chosen from by seed, uid and view alone."""

    folder: Path
    names: tuple[str, ...]
    """Sorted; at least one."""
    seed: int

    @classmethod
    def open(cls, folder: Path, *, seed: int) -> "Backgrounds":
        """List the pictures of a folder and of those below it.

        Raises:
            UsageError: the folder is missing, cannot be read, or holds no picture.
        """
        return cls(folder, tuple(list_pictures(folder)), seed)

    def choose(self, uid: str, view_index: int) -> str:
        # The view's number is part of the name that is hashed: numpy takes the seed [s, h, 0] for [s, h],
        # from which the viewpoints are drawn.
        identity = stable_hash(f"background of view {view_index} of {uid}")
        return self.names[int(np.random.default_rng([self.seed, identity]).integers(len(self.names)))]

    def pixels(self, name: str, resolution: int) -> NDArray[np.uint8]:
        """Cut the middle of a picture square and resize it; (resolution, resolution, 3).

        Raises:
            UsageError: it cannot be decoded.
        """
        with opened(self.folder / name) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
        square = ImageOps.fit(upright, (resolution, resolution), Image.Resampling.LANCZOS)
        return np.asarray(square)


def list_pictures(folder: Path) -> list[str]:
    """Return the sorted names of a folder's pictures, relative to it; what is hidden is left out.

    Raises:
        UsageError: the folder is missing, cannot be read, or holds no picture.
    """
    try:
        with os.scandir(folder):
            pass  # rglob is silent about a folder that is missing or forbidden
        paths = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    except OSError as error:
        raise UsageError(f"render.backgrounds={folder} cannot be read: {error.strerror}") from error
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    visible = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    if not visible:
        known = " ".join(sorted(SUFFIXES))
        raise UsageError(f"render.backgrounds={folder} holds no picture ({known})")
    return visible


def fingerprint(folder: Path) -> dict[str, int | str]:
    """Count a folder's pictures and hash their names and contents, whatever the folder is called.

    Raises:
        UsageError: there is none, or one of them is no picture that can be used.
    """
    digest = hashlib.sha256()
    names = list_pictures(folder)
    for name in names:
        with opened(folder / name):
            digest.update(f"{sha256_of(folder / name)}  {name}\n".encode())
    return {"pictures": len(names), "sha256": digest.hexdigest()}


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture of 8 bits per channel.

    Raises:
        UsageError: it is none; also for what is found out only when the pixels are read.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):  # Pillow would clip these instead of scaling them
                raise UsageError(f"the background {path} has mode {picture.mode}: store 8 bits per channel")
            yield picture
    except (*UNDECODABLE, Image.DecompressionBombError) as error:
        raise UsageError(f"the background {path} is not a readable picture: {error}") from error
