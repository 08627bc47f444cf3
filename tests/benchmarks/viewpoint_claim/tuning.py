"""Tuning on many views by a recipe.

Losses, anchors, LoRA, VIFormer and the optimiser are those of `training`; here stands only what feeds them,
because a hundred objects of 64 pixels fit into memory and need no shards, loaders or checkpoints.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.anchors import maximise
from training.config import AnchorsConfig
from training.distributed import World
from training.lora import adapt, merge
from training.objective import Objective
from training.optimiser import learning_rate, make_optimiser, set_learning_rate
from training.viformer import VIFormer
from viewpoint_claim.batches import Batches, TuningViews
from viewpoint_claim.data import Parted, Pictures
from viewpoint_claim.evaluation import on_white
from viewpoint_claim.recipe import Recipe
from viewpoint_claim.tiny_clip import image_features, take_step
from viewpoint_claim.wording import Tokenizer

Encode = Callable[[Tensor], Tensor]
"""(B, 3, H, W) normalised pictures to (B, D) features of any length."""
LARGEST_LOG_SCALE: Final = float(np.log(100))


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
            batch.rows_with(anchors.outliers if anchors else ()),
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
