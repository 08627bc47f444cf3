"""The maximisation step in a run: when anchors are made anew, from what, and for whom.

Notation: P views, O objects, U objects of a batch, D embedding.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from training.anchors import maximise
from training.batches import Pixels, RowBatches
from training.config import AnchorsConfig
from training.data import TrainingData
from training.distributed import World
from training.feature_bank import FeatureBank
from training.loading import ahead
from training.sampler import Rows
from training.tensor_files import save_tensors

ANCHORS, BANK = "anchors.safetensors", "bank.f16"
SAMPLE: Final = 64
"""Objects that are encoded anew, to see how far a bank has fallen behind."""

Embed = Callable[[Tensor], Tensor]
"""Pixels (B, 3, S, S) uint8 on the CPU -> unit-norm features (B, D)."""


class AnchorKeeper:
    """Holds the anchors and outliers of all objects, equal in all processes; the leader holds the bank.

    Args:
        pixels: as views are to be encoded for it.
        embed: by the model as it is now.
        at_once: views that a process encodes together.
        every_steps: how often anchors are made anew.
    """

    def __init__(
        self,
        settings: AnchorsConfig,
        data: TrainingData,
        pixels: Pixels,
        embed: Embed,
        *,
        width: int,
        run: Path,
        world: World,
        device: torch.device,
        at_once: int,
        every_steps: int,
        loaders: int,
    ) -> None:
        self._settings = settings
        self._data = data
        self._pixels = pixels
        self._embed = embed
        self._run = run
        self._world = world
        self._device = device
        self._at_once = at_once
        self._every_steps = every_steps
        self._loaders = loaders
        self._counts = data.counts
        self._filled = False
        self.anchors = torch.zeros(len(self._counts), width)  # (O, D)
        self.outliers = torch.zeros(len(data.view_objects), dtype=torch.bool)  # (P,)
        self._bank = FeatureBank(run / BANK, len(self.outliers), width) if world.leads else None

    def look_up(self, objects: Tensor) -> Tensor:
        """Return the anchors (U, D) of objects (U,), on their device."""
        return self.anchors[objects.cpu()].to(objects.device)

    def refresh(self, step: int) -> dict[str, float]:
        """Make anchors and outliers anew where they are due; return what can be told of it.

        `outliers_kept` and `anchor_cosine` compare with the ones before; `bank_outliers_agree` and
        `bank_anchor_cosine` compare a bank's with those of some objects that are encoded anew.
        """
        if step % self._every_steps:
            return {}
        if self._settings.source == "full" or not self._filled:
            self._fill(step)
        before, old_outliers, first_time = self.anchors.clone(), self.outliers.clone(), not self._filled
        self._maximise()
        self._filled = True
        if first_time:
            return {}
        figures = {
            "outliers_kept": _overlap(old_outliers, self.outliers),
            "anchor_cosine": _mean_cosine(before, self.anchors),
        }
        return figures | (self._compare_with_truth(step) if self._settings.source == "bank" else {})

    def note(self, rows: Tensor, features: Tensor) -> None:
        """Take the features of a batch into the bank, where anchors come from it."""
        if self._settings.source == "bank" and self._bank is not None:
            self._bank.write(rows, features)

    def save(self, folder: Path) -> None:
        """Put everything into a checkpoint's folder."""
        path = folder / ANCHORS
        save_tensors({"anchors": self.anchors, "outliers": self.outliers.to(torch.uint8)}, path)
        if self._settings.source == "bank" and self._bank is not None:
            self._bank.save(folder / BANK)

    def restore(self, folder: Path) -> None:
        """Take everything from a checkpoint's folder."""
        tensors = load_file(folder / ANCHORS)
        self.anchors, self.outliers = tensors["anchors"], tensors["outliers"].bool()
        if self._settings.source == "bank" and self._bank is not None:
            self._bank.restore(folder / BANK)
        self._filled = True

    def _fill(self, step: int) -> None:
        """Encode every view and put it into the bank."""
        for rows, features in self._encode(np.arange(len(self.outliers)), step):
            if self._bank is not None:
                self._bank.write(rows, features)

    def _maximise(self) -> None:
        if self._bank is not None:
            found = self._bank.maximise(
                self._counts,
                outliers_per_object=self._settings.outliers_per_object,
                weights=self._settings.weights,
                eligible=self._eligible(),
                device=self._device,
            )
            self.anchors, self.outliers = found.anchors.float(), found.outliers
        if self._world.size > 1:
            self.anchors = self._world.share(self.anchors.to(self._device)).cpu()
            self.outliers = self._world.share(self.outliers.to(self._device).to(torch.uint8)).bool().cpu()

    def _eligible(self) -> Tensor | None:
        return self._data.view_captions >= 0 if self._settings.of == "captioned" else None

    def _encode(self, rows: Rows, moment: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (rows, features) of views, a chunk at a time, each process doing its part of each chunk."""
        chunks = [rows[start : start + self._chunk] for start in range(0, len(rows), self._chunk)]
        mine = [self._part(chunk) for chunk in chunks]
        batches = RowBatches(self._pixels, mine, moment)
        loading = ahead(batches, range(len(mine)), loaders=self._loaders, pin=self._device.type == "cuda")
        for chunk, pixels in zip(chunks, loading, strict=True):
            features = self._world.gather(self._embed(pixels))
            yield torch.from_numpy(chunk), features[: len(chunk)].cpu()

    @property
    def _chunk(self) -> int:
        return self._at_once * self._world.size

    def _part(self, chunk: Rows) -> Sequence[int]:
        """Return this process's rows of a chunk, filled up so that all have as many."""
        share = -(-len(chunk) // self._world.size)
        filled = np.resize(chunk, share * self._world.size)
        part: Sequence[int] = filled[self._world.rank * share : (self._world.rank + 1) * share].tolist()
        return part

    def _compare_with_truth(self, step: int) -> dict[str, float]:
        rng = np.random.default_rng([step])
        objects = np.sort(rng.choice(len(self._counts), min(SAMPLE, len(self._counts)), replace=False))
        rows = np.flatnonzero(np.isin(self._data.view_objects.numpy(), objects))
        features = torch.cat([part for _, part in self._encode(rows, step)])
        eligible = self._eligible()
        truth = maximise(
            features,
            self._counts[torch.from_numpy(objects)],
            outliers_per_object=self._settings.outliers_per_object,
            weights=self._settings.weights,
            eligible=None if eligible is None else eligible[rows],
        )
        return {
            "bank_outliers_agree": _overlap(self.outliers[rows], truth.outliers),
            "bank_anchor_cosine": _mean_cosine(self.anchors[objects], truth.anchors),
        }


def _overlap(one: Tensor, other: Tensor) -> float:
    """Return the share of outliers that are so in both."""
    return float((one & other).sum() / other.sum().clamp(min=1))


def _mean_cosine(one: Tensor, other: Tensor) -> float:
    return float((one * other).sum(dim=1).mean())
