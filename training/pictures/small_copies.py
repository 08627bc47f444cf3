"""Small JPEG copies of a dataset's views, made once and read instead of them: several times as fast.

They lie in the cache folder, in parts of some thousand pictures, each a file of JPEGs and one of their
offsets. A part is done when its offsets are there; a killed run goes on with those that are missing.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from mvcap import files
from mvcap.errors import CorruptDatasetError
from training.loading import ahead
from training.pictures import EncodedPicture, PictureSet, PictureTable
from training.pictures.dataset import DatasetPictures
from training.pictures.decoding import decode

PART: Final = 4096
QUALITY: Final = 90
SUBSAMPLING: Final = "4:2:0"
"""Of colours, as in most pictures that CLIP was trained on: decodes in two thirds of the time of 4:4:4."""
TELL_EVERY: Final = 20
"""Parts."""


@dataclass(frozen=True, slots=True)
class SmallCopies:
    """The same pictures, smaller; what is known of them is what is known of the originals."""

    original: PictureSet
    folder: Path

    @property
    def table(self) -> PictureTable:
        return self.original.table

    def key(self, row: int) -> str:
        """Name a picture as the original's."""
        return self.original.key(row)

    def identity(self) -> str:
        """Tell the originals' own."""
        return self.original.identity()

    def read(self, rows: Sequence[int]) -> list[EncodedPicture]:
        """Read JPEGs by their offsets."""
        found: list[EncodedPicture] = []
        for row in rows:
            part, index = divmod(int(row), PART)
            try:
                offsets = np.load(_offsets(self.folder, part), mmap_mode="r", allow_pickle=False)
                start, stop = int(offsets[index]), int(offsets[index + 1])
                with _pictures(self.folder, part).open("rb") as file:
                    file.seek(start)
                    found.append(EncodedPicture(file.read(stop - start), exif=True))
            except (OSError, ValueError, IndexError) as error:
                raise CorruptDatasetError(
                    f"cannot read small copies in {self.folder}: {error}; delete that folder, and they are "
                    "made anew"
                ) from error
        return found


def make_small_copies(
    pictures: DatasetPictures, size_px: int, *, processes: int, say: Callable[[str], None]
) -> SmallCopies:
    """Make what is missing of the copies, whose shorter side is `size_px`, and return them.

    Raises:
        CorruptDatasetError: a picture does not decode.
        DiskFullError: the cache has no room.
    """
    folder = files.cache_folder() / "small-copies" / f"{pictures.identity()}-{size_px}px-q{QUALITY}"
    count = -(-len(pictures.table) // PART)
    missing = [part for part in range(count) if not _offsets(folder, part).exists()]
    if missing:
        say(f"making copies of {size_px} px in {folder}: {len(missing)} of {count} parts of {PART} pictures")
        making = ahead(_Parts(pictures, folder, size_px), missing, loaders=processes, pin=False)
        for done, _ in enumerate(making, 1):
            if done % TELL_EVERY == 0:
                say(f"{done} of {len(missing)} parts")
    return SmallCopies(pictures, folder)


@dataclass(frozen=True, slots=True)
class _Parts(Dataset[int]):
    """Makes the part it is asked for, in loaders: unlike processes of a pool they end with their parent."""

    pictures: PictureSet
    folder: Path
    size_px: int

    def __getitem__(self, part: int) -> int:
        _make_part(self.pictures, self.folder, self.size_px, part)
        return part


def _make_part(pictures: PictureSet, folder: Path, size_px: int, part: int) -> None:
    rows = range(part * PART, min((part + 1) * PART, len(pictures.table)))
    offsets = [0]
    with files.staged(_pictures(folder, part)) as path, path.open("wb") as file:
        for row in rows:
            copy = _smaller(pictures.read([row])[0], pictures.key(row), size_px)
            file.write(copy)
            offsets.append(offsets[-1] + len(copy))
    with files.staged(_offsets(folder, part)) as path, path.open("wb") as file:
        np.save(file, np.array(offsets, np.int64), allow_pickle=False)


def _smaller(picture: EncodedPicture, key: str, size_px: int) -> bytes:
    """Return a JPEG; one that is small enough already stays as it is."""
    image = decode(picture, key)
    shorter = min(image.size)
    if shorter <= size_px and picture.data.startswith(b"\xff\xd8"):
        return picture.data
    if shorter > size_px:
        scale = size_px / shorter
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
        )
    image.save(buffer := io.BytesIO(), "JPEG", quality=QUALITY, subsampling=SUBSAMPLING)
    return buffer.getvalue()


def _pictures(folder: Path, part: int) -> Path:
    return folder / f"{part:06d}.jpegs"


def _offsets(folder: Path, part: int) -> Path:
    return folder / f"{part:06d}.npy"
