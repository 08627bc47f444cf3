"""Where pictures for training and evaluation come from: a table of what they are, and a way to read them.

One file for each layout: our datasets (`dataset.py`), a folder for each class (`image_folder.py`), webdataset
tars (`tars.py`). `opening.py` tells them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""Index of a caption or category that there is not."""


@dataclass(frozen=True, slots=True)
class PictureTable:
    """What is known of P pictures, in columns: a million rows take tens of megabytes.

    The views of an object stand together, and objects in the order of their first view.
    """

    object_index: NDArray[np.int32]
    """(P,) from 0, never decreasing."""
    categories: tuple[str, ...]
    category_index: NDArray[np.int32]
    """(P,) into `categories`, or UNKNOWN."""
    captions: Sequence[str]
    """Distinct ones."""
    caption_index: NDArray[np.int32]
    """(P,) into `captions`, or UNKNOWN."""
    azimuth_deg: NDArray[np.float32]
    """(P,) NaN where unknown; as `elevation_deg`."""
    elevation_deg: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.object_index)

    @property
    def objects(self) -> int:
        """O, the number of objects."""
        return int(self.object_index[-1]) + 1 if len(self) else 0

    @property
    def counts(self) -> NDArray[np.int64]:
        """(O,) views of each object."""
        return np.bincount(self.object_index, minlength=self.objects)


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """A picture as it is stored."""

    data: bytes
    background: str = "#ffffff"
    """Colour on which alpha is composited."""
    exif: bool = False
    """Whether it is turned as its Exif orientation says: so `datasets` and the captioner see what a dataset
    of ours stores. torchvision and clip_benchmark look away, and benchmarks are measured as they do."""


class PictureSet(Protocol):
    """Pictures that can be read in any order, by any process."""

    @property
    def table(self) -> PictureTable: ...

    def read(self, rows: Sequence[int]) -> list[EncodedPicture]:
        """Read some pictures, in the order of `rows`.

        Raises:
            CorruptDatasetError: a file is gone or damaged.
        """

    def key(self, row: int) -> str:
        """Name a picture to people: `uid#view`, or its file."""

    def identity(self) -> str:
        """Tell sets of pictures apart by which ones they hold, in which order: 16 hex digits."""
