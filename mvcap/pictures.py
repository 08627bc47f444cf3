"""What a source of pictures says of one object: which pictures, where their bytes are, and their cameras."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import error as StructError
from typing import Final, Protocol

from mvcap.errors import BAD_ASSET, TOO_BIG, Reason
from mvcap.records import Camera, SelectedObject

UNDECODABLE: Final = (OSError, SyntaxError, ValueError, EOFError, StructError, TypeError, RuntimeError)
"""What Pillow raises for damaged pictures: TypeError of a TIFF without a width, RuntimeError of AVIF."""

SIXTEEN_BIT: Final = frozenset({"I;16", "I;16L", "I;16B"})
"""Pillow's modes of grey with 16 bits, which it would cut off at 255."""
LARGEST_FILE_BYTES: Final = 256 * 2**20
"""Of one picture as it is stored by its source."""


class UnusableInputError(Exception):
    """An object, or one of its pictures, that cannot be used; `reason` is what `Rejected` records."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class Content(Protocol):
    """Bytes that are read when they are wanted."""

    def read(self) -> bytes:
        """Return all of them.

        Raises:
            UnusableInputError: they cannot be read, or are too many.
        """


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file, or a part of one where `offset` and `size` are given, as of a plain tar."""

    path: Path
    offset: int = 0
    size: int | None = None
    """None: to the end of the file."""

    def read(self) -> bytes:
        try:
            size = self.path.stat().st_size - self.offset if self.size is None else self.size
            require_bearable(size)
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read(size)
        except OSError as error:
            raise UnusableInputError(
                BAD_ASSET, f"{self.path.name!r} cannot be read: {error.strerror}"
            ) from error


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of an object, before anything of it is read."""

    view_index: int
    name: str
    """As its source calls it; for people."""
    content: Content | None
    """None where the source names a file that is not there."""
    camera: Camera | None = None
    """None where the pose is unknown. Its width and height may be those of another size of the same shape."""
    mask: Content | None = None
    """A picture that is bright where the object is; None where there is none, or none is wanted."""
    rendered: bool = False
    """Its alpha is that of a film on which only the object was drawn: it is checked as our renders are."""


FindPictures = Callable[[SelectedObject], Sequence[Picture]]
"""Finds the pictures of one object, by view index. Raises `UnusableInputError` where it has none to use."""


def require_bearable(size: int) -> None:
    """Refuse more bytes than a picture can sensibly have.

    Raises:
        UnusableInputError: as `too_big`.
    """
    if size > LARGEST_FILE_BYTES:
        raise UnusableInputError(TOO_BIG, f"{size} bytes exceed the limit of {LARGEST_FILE_BYTES}")
