"""Tuning on many views: a row of the table is a recipe, made of the product's own settings.

Losses, anchors, LoRA, VIFormer and the optimiser are those of `training`; here stands only what feeds them,
because a hundred objects of 64 pixels fit into memory and need no shards, loaders or checkpoints.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from training.anchors import maximise
from training.config import AnchorsConfig, LossConfig, OptimiserConfig, ViformerConfig
from training.distributed import World
from training.lora import adapt, merge
from training.objective import Objective, Rows
from training.optimiser import learning_rate, make_optimiser, set_learning_rate
from training.viformer import VIFormer
from viewpoint_claim.augment import VARIATION, vary
from viewpoint_claim.data import Parted, Pictures
from viewpoint_claim.evaluation import on_white
from viewpoint_claim.tiny_clip import WORDED, balanced, image_features, random_captions, take_step
from viewpoint_claim.wording import Tokenizer

Encode = Callable[[Tensor], Tensor]
"""(B, 3, H, W) normalised pictures to (B, D) features of any length."""
Index = NDArray[np.int64]
NO_CAPTION: Final = -1
LARGEST_LOG_SCALE: Final = float(np.log(100))


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row."""

    loss: LossConfig
    optimiser: OptimiserConfig
    anchors: AnchorsConfig
    image: Literal["full", "lora"] = "full"
    rank: int = 8
    viformer: ViformerConfig | None = None
    captioned: int | None = None
    """Views of each object that have captions; all where None."""
    captioned_odd: bool = False
    """Whether these are odd ones instead of frontal ones."""
    replay: Literal["seen", "all"] = "seen"
    """Frontal views of the pre-training objects of categories that tuning sees, or of all."""
    replayed: int = 32
    """Of these in each batch."""
    objects: int = 8
    """Tuning objects in each batch."""
    views: int = 4
    """Captioned views of each of them, or as many as there are."""
    uncaptioned_views: int = 4
    """Further views of each of them, where some have no captions and a term of the loss looks at them."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """A model beside the one it came from."""

    model: Any
    base: Any
    viformer: VIFormer | None

    def encoder(self, share: float) -> Encode:
        """Return the image encoder with weights at `share` of the way from the base to the tuned ones.

        As `training.finished.open_tuned` does it.
        """
        visual = deepcopy(self.base.visual)
        before, after = visual.state_dict(), self.model.visual.state_dict()
        visual.load_state_dict({name: torch.lerp(before[name], after[name], share) for name in before})
        visual.eval()
        if self.viformer is None:
            return visual
        former = deepcopy(self.viformer).eval()
        former.alpha *= share
        return lambda images: former(visual(images))


class Student(nn.Module):
    """What is trained: the image encoder, VIFormer behind it, and the temperature."""

    def __init__(self, base: Any, recipe: Recipe) -> None:
        super().__init__()
        self.model = deepcopy(base).requires_grad_(False)
        if recipe.image == "lora":
            adapt(self.model.visual, rank=recipe.rank, alpha=recipe.rank)
        else:
            self.model.visual.requires_grad_(True)
        settings = recipe.viformer
        self.viformer = VIFormer(base.visual.output_dim, **settings.model_dump()) if settings else None
        self.model.logit_scale.requires_grad_(True)

    def encode(self, images: Tensor) -> Tensor:
        """Return unit-norm (B, D)."""
        features = self.model.visual(images)
        return F.normalize(features, dim=1) if self.viformer is None else self.viformer(features)

    @torch.no_grad()
    def limit_temperature(self) -> None:
        self.model.logit_scale.clamp_(max=LARGEST_LOG_SCALE)


def tune(parted: Parted, base: Any, tokenizer: Tokenizer, recipe: Recipe, *, seed: int) -> Tuned:
    """Tune a copy of the base; the text tower stays as it is."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 2])
    student = Student(base, recipe).train()
    views = TuningViews.of(parted, recipe)
    batches = Batches(parted, views, recipe, rng)
    objective = Objective(recipe.loss, recipe.anchors, World())
    optimiser = make_optimiser(student, recipe.optimiser)
    anchors: AllAnchors | None = None
    for step in range(recipe.optimiser.steps):
        if recipe.loss.wants_anchors and is_due(recipe.anchors, step):
            anchors = AllAnchors.of(parted.pictures, views, student.eval(), recipe.anchors)
            student.train()
        set_learning_rate(optimiser, learning_rate(step, recipe.optimiser))
        batch = batches.draw()
        parts = objective(
            student.encode(batch.images),
            frozen_texts(base, tokenizer, batch.captions),
            batch.rows_with(anchors),
            student.model.logit_scale.exp(),
            anchors=None if anchors is None else anchors.look_up,
            pretrained=frozen_pictures(base, batch.images) if recipe.loss.distillation.weight else None,
        )
        take_step(optimiser, parts.total)
        student.limit_temperature()
    if recipe.image == "lora":
        merge(student.model.visual)
    student.eval()
    return Tuned(student.model, base, student.viformer)


def is_due(settings: AnchorsConfig, step: int) -> bool:
    return settings.source == "full" and step % (settings.every_steps or 1) == 0


@torch.no_grad()
def frozen_texts(base: Any, tokenizer: Tokenizer, captions: list[str]) -> Tensor:
    """Return (B, D) unit-norm features of the base's own text tower."""
    return F.normalize(base.encode_text(tokenizer(captions)), dim=1)


@torch.no_grad()
def frozen_pictures(base: Any, images: Tensor) -> Tensor:
    """Return (B, D) unit-norm features of the base's own image encoder, of whole pictures."""
    return F.normalize(base.visual(images), dim=1)


@dataclass(frozen=True, slots=True)
class TuningViews:
    """All V views of the tuning objects, object by object, each object's frontal ones first."""

    rows: Index
    """(V,) in the pictures."""
    captioned: NDArray[np.bool_]
    """(V,)"""

    @classmethod
    def of(cls, parted: Parted, recipe: Recipe) -> "TuningViews":
        pictures, rows = parted.pictures, parted.rows("tuning")
        if recipe.captioned is None:
            return cls(rows, np.full(len(rows), True))
        kind = pictures.frontal[rows] != recipe.captioned_odd  # (V,) the kind that has captions
        before = np.cumsum(kind) - kind  # (V,) of this kind, among all
        first = np.searchsorted(pictures.objects[rows], pictures.objects[rows])
        return cls(rows, kind & (before - before[first] < recipe.captioned))


@dataclass(frozen=True, slots=True)
class Batch:
    """B pictures: views of tuning objects, then replayed ones."""

    pictures: Index
    """(B,)"""
    images: Tensor
    """(B, 3, H, W)"""
    captions: list[str]
    """(B,), empty where there is none."""
    objects: Tensor
    """(B,)"""
    is_view: Tensor
    """(B,)"""

    def rows_with(self, anchors: "AllAnchors | None") -> Rows:
        """Say of the rows what the loss wants to know."""
        numbers = {caption: index for index, caption in enumerate(dict.fromkeys(self.captions))}
        captions = torch.tensor([numbers[caption] if caption else NO_CAPTION for caption in self.captions])
        outliers = torch.zeros_like(self.is_view)
        if anchors is not None:
            outliers = torch.tensor([int(row) in anchors.outliers for row in self.pictures])
        return Rows(self.objects, captions, self.is_view, outliers)


class Batches:
    """Draws what each step sees."""

    def __init__(self, parted: Parted, views: TuningViews, recipe: Recipe, rng: np.random.Generator) -> None:
        pictures = parted.pictures
        self._pictures, self._views, self._recipe, self._rng = pictures, views, recipe, rng
        self._names = np.unique(pictures.objects[views.rows])
        replay = parted.rows("pretraining", frontal=True)
        unseen = np.array([noun in parted.unseen for noun in pictures.nouns])
        self._replay = replay if recipe.replay == "all" else replay[~unseen[pictures.objects[replay]]]

    def draw(self) -> Batch:
        pictures, rng = self._pictures, self._rng
        names = rng.choice(self._names, self._recipe.objects, replace=False)
        views = np.concatenate([self._views_of(name) for name in names])
        replayed = balanced(self._replay, pictures.objects, self._recipe.replayed, rng)
        chosen = np.concatenate([self._views.rows[views], replayed])
        captioned = np.concatenate([self._views.captioned[views], np.full(len(replayed), True)])
        images, recoloured = vary(pictures.rgba[chosen], VARIATION, rng)
        captions = random_captions(pictures, chosen, recoloured, rng, worded=WORDED)
        return Batch(
            pictures=chosen,
            images=images,
            captions=[text if told else "" for text, told in zip(captions, captioned, strict=True)],
            objects=torch.from_numpy(pictures.objects[chosen]),
            is_view=torch.arange(len(chosen)) < len(views),
        )

    def _views_of(self, name: int) -> Index:
        """Draw an object's captioned views, and others if a term is there to learn from them."""
        own = np.flatnonzero(self._pictures.objects[self._views.rows] == name)
        told, untold = own[self._views.captioned[own]], own[~self._views.captioned[own]]
        drawn = self._rng.choice(told, min(self._recipe.views, len(told)), replace=False)
        if not (self._recipe.loss.wants_anchors and len(untold)):
            return drawn
        more = self._rng.choice(untold, min(self._recipe.uncaptioned_views, len(untold)), replace=False)
        return np.concatenate([drawn, more])


@dataclass(frozen=True, slots=True)
class AllAnchors:
    """Anchors and outliers of all tuning objects, from one look at all their views, unvaried."""

    anchors: Tensor
    """(O, D)"""
    names: Tensor
    """(O,) the objects, ascending."""
    outliers: frozenset[int]
    """Rows in the pictures."""

    @classmethod
    def of(
        cls, pictures: Pictures, views: TuningViews, student: Student, settings: AnchorsConfig
    ) -> "AllAnchors":
        names, counts = np.unique(pictures.objects[views.rows], return_counts=True)
        found = maximise(
            image_features(student.encode, on_white(pictures.rgba[views.rows])),
            torch.from_numpy(counts),
            outliers_per_object=settings.outliers_per_object,
            weights=settings.weights,
            eligible=torch.from_numpy(views.captioned) if settings.of == "captioned" else None,
        )
        outliers = views.rows[found.outliers.numpy()]
        return cls(found.anchors, torch.from_numpy(names), frozenset(outliers.tolist()))

    def look_up(self, objects: Tensor) -> Tensor:
        """Return the anchors (U, D) of objects (U,)."""
        return self.anchors[torch.searchsorted(self.names, objects)]
