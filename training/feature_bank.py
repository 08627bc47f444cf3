"""One feature for every view, on disk: what anchors and outliers are made from.

4.6 million views of 512 numbers take 4.7 GB in float16, of which a process has a few megabytes in memory.

Notation: P views, O objects, D embedding.
"""

import mmap
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mvcap import files
from training.anchors import AnchorWeights, Maximisation, maximise

VIEWS_AT_ONCE: Final = 2**16
"""About so many are brought to the device for a chunk of whole objects."""


class FeatureBank:
    """A file of P x D float16.

    Args:
        path: made, or taken over where it has the right size.

    Raises:
        DiskFullError: there is no room for it.
    """

    def __init__(self, path: Path, views: int, width: int) -> None:
        self._path = path
        self._shape = (views, width)
        if not path.exists() or path.stat().st_size != 2 * views * width:
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.disk_full_explained(path), path.open("wb") as file:
                # Written through a map, a hole on a full disk would end the process without a word (SIGBUS).
                os.posix_fallocate(file.fileno(), 0, 2 * views * width)
        self._map()

    def _map(self) -> None:
        self._features: Any = np.memmap(self._path, np.float16, "r+", shape=self._shape)

    def write(self, rows: Tensor, features: Tensor) -> None:
        """Put features (B, D) in the place of rows (B,)."""
        self._features[rows.cpu().numpy()] = features.detach().cpu().to(torch.float16).numpy()
        self._forget()

    def read(self, start: int, stop: int) -> Tensor:
        """Return (stop - start, D) float16."""
        found = torch.from_numpy(np.array(self._features[start:stop]))
        self._forget()
        return found

    def maximise(
        self,
        counts: Tensor,
        *,
        outliers_per_object: int,
        weights: AnchorWeights,
        eligible: Tensor | None,
        device: torch.device,
    ) -> Maximisation:
        """Find anchors and outliers of all objects, some at a time; the result is on the CPU.

        Args:
            counts: (O,) int64 views of each object, in the order of the rows.
            eligible: (P,) bool, see `training.anchors.maximise`.
        """
        found = []
        first = 0
        for chunk in _chunks(counts):
            last = first + int(chunk.sum())
            part = maximise(
                self.read(first, last).to(device),
                chunk,
                outliers_per_object=outliers_per_object,
                weights=weights,
                eligible=None if eligible is None else eligible[first:last].to(device),
            )
            found.append([part.anchors.cpu(), part.outliers.cpu(), part.distances.cpu()])
            first = last
        return Maximisation(*(torch.cat(parts) for parts in zip(*found, strict=True)))

    def save(self, path: Path) -> None:
        """Copy the bank, durably."""
        self._features.flush()
        shutil.copyfile(self._path, path)
        files.sync(path)

    def restore(self, path: Path) -> None:
        """Take over a copy.

        Raises:
            DiskFullError: there is no room for it.
        """
        del self._features
        with files.disk_full_explained(self._path):
            shutil.copyfile(path, self._path)
        self._map()

    def _forget(self) -> None:
        """Give pages back: what was touched once would count as this process's memory for ever."""
        self._features._mmap.madvise(mmap.MADV_DONTNEED)


def _chunks(counts: Tensor) -> Iterator[Tensor]:
    """Cut (O,) counts into runs of about `VIEWS_AT_ONCE` views."""
    chunk = (counts.cumsum(0) - counts) // VIEWS_AT_ONCE  # (O,) in which each object begins
    first = 0
    for objects in torch.bincount(chunk).tolist():
        if objects:
            yield counts[first : first + objects]
        first += objects
