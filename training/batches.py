"""From rows of tables to batches of pixels.

Notation: B batch of one process, S side of a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.dual_encoder import Preprocessing
from training.pictures import PictureSet
from training.pictures.decoding import Augmentation, decode, to_pixels
from training.sampler import ObjectSampler, PictureSampler, Rows


@dataclass(frozen=True, slots=True)
class Pixels:
    """Reads pictures as a model wants them.

    Args:
        augmentation: None leaves them as the model's own evaluation has them.
        seed: of the augmentation. What becomes of a picture depends on it, on the moment and on the row
            alone: not on the process, nor on the rest of the batch.
    """

    pictures: PictureSet
    preprocessing: Preprocessing
    augmentation: Augmentation | None = None
    seed: int = 0

    def load(self, rows: Sequence[int], moment: int = 0) -> Tensor:
        """Return (B, 3, S, S) uint8.

        Raises:
            CorruptDatasetError: a picture cannot be read; the message names it.
        """
        found = []
        for row, picture in zip(rows, self.pictures.read(rows), strict=True):
            image = decode(picture, self.pictures.key(row))
            rng = np.random.default_rng([self.seed, moment, row]) if self.augmentation else None
            found.append(to_pixels(image, self.preprocessing, self.augmentation, rng))
        side = self.preprocessing.size
        return torch.from_numpy(np.stack(found) if found else np.empty((0, 3, side, side), np.uint8))


class Batch(NamedTuple):
    """A process's part of a batch: views of objects first, clean pictures behind them."""

    pixels: Tensor
    """(B, 3, S, S) uint8."""
    views: Tensor
    """(M,) int64 rows of the multi-view table."""
    clean: Tensor
    """(C,) int64 rows of the clean table; M + C = B."""


@dataclass(frozen=True, slots=True)
class TrainingBatches(Dataset[Batch]):
    """Each step's batch, by its number.

    Args:
        rank: of this process, which takes an equal part of the views and of the clean pictures.
    """

    views: Pixels
    sampler: ObjectSampler
    clean: Pixels | None
    clean_sampler: PictureSampler | None
    rank: int = 0
    processes: int = 1

    def __getitem__(self, step: int) -> Batch:
        rows = self._part(self.sampler.rows(step))
        pixels = [self.views.load(rows, step)]
        clean: list[int] = []
        if self.clean is not None and self.clean_sampler is not None:
            clean = self._part(self.clean_sampler.rows(step))
            pixels.append(self.clean.load(clean, step))
        return Batch(torch.cat(pixels), torch.tensor(rows), torch.tensor(clean, dtype=torch.int64))

    def _part(self, rows: Rows) -> list[int]:
        share = len(rows) // self.processes
        return [int(row) for row in rows[self.rank * share : (self.rank + 1) * share]]


@dataclass(frozen=True, slots=True)
class RowBatches(Dataset[Tensor]):
    """Pixels of given rows, batch by batch."""

    pixels: Pixels
    rows: Sequence[Sequence[int]]
    moment: int = 0

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels.load(self.rows[index], self.moment)
