"""Pictures that somebody rendered of an object: numbered files in a folder or a zip, perhaps with poses."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from tokenize import TokenError
from typing import Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mvcap.errors import BAD_ASSET, Reason
from mvcap.pictures import UnusableInputError
from mvcap.poses import from_world_to_camera, is_rigid
from mvcap.sources._frames import PICTURE_SUFFIXES, by_number

LARGEST_POSE_BYTES: Final = 65536
NO_ARRAY: Final = (
    *(ValueError, OSError, EOFError, SyntaxError, OverflowError, MemoryError, TokenError),
    BadZipFile,
)
"""What numpy raises for a damaged array: a header of no sense, a shape of terabytes, a zip."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """The content of a picture that cannot be used, for a reason found before it was read."""

    reason: Reason
    message: str

    def read(self) -> bytes:
        raise UnusableInputError(self.reason, self.message)


def numbered(names: Iterable[str]) -> dict[int, str]:
    """Give each picture among file names its view index: its own number, where all have one of their own.

    Otherwise they are counted in the order of their names.
    """
    pictures = sorted(
        (name for name in names if PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES), key=by_number
    )
    stems = [PurePosixPath(name).stem for name in pictures]
    if all(stem.isascii() and stem.isdecimal() and len(stem) < 10 for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return dict(sorted(zip(numbers, pictures, strict=True)))
    return dict(enumerate(pictures))


def read_pose(data: bytes, name: str) -> NDArray[np.float64]:
    """Read an OpenGL camera-to-world matrix, (4, 4), from a `.npy` of a (3, 4) world-to-camera one.

    Raises:
        UnusableInputError: it is something else; one with Python objects in it is never unpickled.
    """
    if len(data) > LARGEST_POSE_BYTES:
        raise UnusableInputError(BAD_ASSET, f"{name!r} has {len(data)} bytes: it is no (3, 4) matrix")
    try:
        matrix = np.load(BytesIO(data), allow_pickle=False)
    except NO_ARRAY as error:
        raise UnusableInputError(BAD_ASSET, f"{name!r} is no array that can be read: {error}") from error
    if not isinstance(matrix, np.ndarray) or matrix.shape not in {(3, 4), (4, 4)} or matrix.dtype.kind != "f":
        raise UnusableInputError(BAD_ASSET, f"{name!r} is no (3, 4) matrix of floats")
    if not is_rigid(np.asarray(matrix, dtype=np.float64)):
        raise UnusableInputError(BAD_ASSET, f"{name!r} is no rotation with a translation")
    return from_world_to_camera(np.asarray(matrix, dtype=np.float64))


def file_names(folder: Path) -> list[str]:
    """Return the names of a folder's files; none where it is not there."""
    try:
        return [path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()]
    except OSError:
        return []
