"""What a run learns from: the views of a dataset, and clean pictures beside them.

Notation: P views, O objects, C clean pictures.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from mvcap.config import TRAINING
from mvcap.learnable import learnable_uids
from training.config import TrainingConfig
from training.pictures import UNKNOWN, PictureSet
from training.pictures.dataset import DatasetPictures, Strings, require_whole
from training.pictures.opening import open_pictures


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Views and clean pictures, with one numbering of captions and of objects."""

    views: PictureSet
    clean: PictureSet | None
    captions: Sequence[str]
    """Distinct ones of both."""
    view_objects: Tensor
    """(P,) int64 from 0; a clean picture's number is O plus its row."""
    view_captions: Tensor
    """(P,) int64, -1 without one."""
    clean_captions: Tensor
    """(C,) int64, -1 without one."""

    @property
    def counts(self) -> Tensor:
        """(O,) int64 views of each object."""
        return torch.from_numpy(self.views.table.counts.astype(np.int64))

    def identity(self) -> str:
        """Tell data apart, the pictures too: a run is resumed on the same only."""
        digest = hashlib.sha256(self.views.identity().encode())
        if self.clean is not None:
            digest.update(self.clean.identity().encode())
        for values in (self.view_objects, self.view_captions, self.clean_captions):
            digest.update(values.numpy().tobytes())
        for start in range(0, len(self.captions), 4096):
            digest.update("\0".join(self.captions[start : start + 4096]).encode())
        return digest.hexdigest()[:16]


def open_data(config: TrainingConfig, folder: Path) -> TrainingData:
    """Open a dataset, without what must not be learnt, and the recipe's clean pictures.

    Raises:
        OutputError: the folder holds no finished dataset.
        EmptyInputError: nothing in it may be learnt from.
        CorruptDatasetError: views of it are missing.
        UsageError: the clean pictures cannot be read.
    """
    learnable = learnable_uids(folder, lookalikes=config.data.lookalikes)

    def keep(split: str, uid: str) -> bool:
        return split == TRAINING and uid in learnable

    views = DatasetPictures(folder, keep)
    require_whole(views, folder, keep)
    clean = None
    if config.clean.path is not None:
        names = Path(config.clean.names) if config.clean.names else None
        clean = open_pictures(
            Path(config.clean.path),
            keep=lambda split, _: split == TRAINING,
            names=names,
            caption=config.clean.caption,
        )
    return join(views, clean)


def join(views: PictureSet, clean: PictureSet | None) -> TrainingData:
    """Give views and clean pictures one numbering of captions: equal ones have equal numbers."""
    known = _strings(views.table.captions)
    objects = torch.from_numpy(views.table.object_index.astype(np.int64))
    of_views = torch.from_numpy(views.table.caption_index.astype(np.int64))
    if clean is None:
        return TrainingData(views, None, Strings(known), objects, of_views, torch.empty(0, dtype=torch.int64))
    added = _strings(clean.table.captions)
    place = pc.index_in(added, known)
    is_new = place.is_null().to_numpy(zero_copy_only=False)
    numbers = np.where(is_new, len(known) + np.cumsum(is_new) - 1, place.fill_null(0).to_numpy())
    index = clean.table.caption_index
    of_clean = np.where(index == UNKNOWN, UNKNOWN, numbers[index] if len(numbers) else UNKNOWN)
    captions = pa.concat_arrays([known, added.filter(pa.array(is_new))])
    return TrainingData(
        views, clean, Strings(captions), objects, of_views, torch.from_numpy(of_clean.astype(np.int64))
    )


def _strings(captions: Sequence[str]) -> Any:
    return captions.values if isinstance(captions, Strings) else pa.array(list(captions), pa.string())
