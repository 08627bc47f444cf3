"""What each step of tuning sees: views of some objects, and replayed frontal pictures beside them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.objective import Rows
from viewpoint_claim.augment import VARIATION, vary
from viewpoint_claim.data import Parted
from viewpoint_claim.recipe import Recipe
from viewpoint_claim.tiny_clip import WORDED, balanced, random_captions

Index = NDArray[np.int64]
NO_CAPTION: Final = -1


@dataclass(frozen=True, slots=True)
class TuningViews:
    """All V views of the tuning objects, object by object, each object's frontal ones first."""

    rows: Index
    """(V,) in the pictures."""
    objects: Index
    """(V,) from 0, ascending."""
    captioned: NDArray[np.bool_]
    """(V,)"""

    @classmethod
    def of(cls, parted: Parted, recipe: Recipe) -> "TuningViews":
        pictures, rows = parted.pictures, parted.rows("tuning")
        _, objects = np.unique(pictures.objects[rows], return_inverse=True)
        if recipe.captioned is None:
            return cls(rows, objects, np.full(len(rows), True))
        kind = pictures.frontal[rows] != recipe.captioned_odd  # (V,) the kind that has captions
        before = np.cumsum(kind) - kind  # (V,) of this kind, among all
        first = np.searchsorted(objects, objects)
        return cls(rows, objects, kind & (before - before[first] < recipe.captioned))


@dataclass(frozen=True, slots=True)
class Batch:
    """B pictures: M views of tuning objects, then replayed ones."""

    views: Tensor
    """(M,) among all tuning views."""
    images: Tensor
    """(B, 3, H, W)"""
    captions: list[str]
    """(B,), empty where there is none."""
    objects: Tensor
    """(B,) numbered as in `TuningViews`; replayed ones have higher numbers."""

    def rows_with(self, outlying: Tensor | None) -> Rows:
        """Say of the rows what the loss wants to know.

        Args:
            outlying: (V,) bool of all tuning views.
        """
        numbers = {caption: index for index, caption in enumerate(dict.fromkeys(self.captions))}
        captions = torch.tensor([numbers[caption] if caption else NO_CAPTION for caption in self.captions])
        outliers = torch.zeros(len(captions), dtype=torch.bool)
        if outlying is not None:
            outliers[: len(self.views)] = outlying[self.views]
        return Rows(self.objects, captions, torch.arange(len(captions)) < len(self.views), outliers)


class Batches:
    """Draws what each step sees."""

    def __init__(self, parted: Parted, views: TuningViews, recipe: Recipe, rng: np.random.Generator) -> None:
        pictures = parted.pictures
        self._pictures, self._views, self._recipe, self._rng = pictures, views, recipe, rng
        self._names = np.unique(views.objects)
        replay = parted.rows("pretraining", frontal=True)
        unseen = np.array([noun in parted.unseen for noun in pictures.nouns])
        self._replay = replay if recipe.replay == "all" else replay[~unseen[pictures.objects[replay]]]

    def draw(self) -> Batch:
        pictures, rng = self._pictures, self._rng
        names = rng.choice(self._names, self._recipe.objects, replace=False)
        views = np.concatenate([self._views_of(name) for name in names])
        replayed = balanced(self._replay, pictures.objects, self._recipe.replayed, rng)
        others = len(self._names) + pictures.objects[replayed]
        chosen = np.concatenate([self._views.rows[views], replayed])
        captioned = np.concatenate([self._views.captioned[views], np.full(len(replayed), True)])
        images, recoloured = vary(pictures.rgba[chosen], VARIATION, rng)
        captions = random_captions(pictures, chosen, recoloured, rng, worded=WORDED)
        return Batch(
            views=torch.from_numpy(views),
            images=images,
            captions=[text if told else "" for text, told in zip(captions, captioned, strict=True)],
            objects=torch.from_numpy(np.concatenate([self._views.objects[views], others])),
        )

    def _views_of(self, name: int) -> Index:
        """Draw an object's captioned views, and others if a term is there to learn from them."""
        own = np.flatnonzero(self._views.objects == name)
        told, untold = own[self._views.captioned[own]], own[~self._views.captioned[own]]
        drawn = self._rng.choice(told, min(self._recipe.views, len(told)), replace=False)
        if not (self._recipe.loss.wants_anchors and len(untold)):
            return drawn
        more = self._rng.choice(untold, min(self._recipe.uncaptioned_views, len(untold)), replace=False)
        return np.concatenate([drawn, more])
