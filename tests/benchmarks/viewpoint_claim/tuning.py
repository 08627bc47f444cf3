"""Tuning on many views by a recipe.

Model, losses, anchors, bank and optimiser are those of `training`; here stands only what feeds them, because
a hundred objects of 64 pixels fit into memory and need no shards, loaders or checkpoints.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.distributed import World
from training.lora import merge
from training.maximising import AnchorKeeper
from training.objective import Objective
from training.optimiser import learning_rate, make_optimiser, set_learning_rate
from training.student import Student
from viewpoint_claim.anchoring import make_keeper
from viewpoint_claim.batches import Batches, TuningViews
from viewpoint_claim.data import Parted
from viewpoint_claim.recipe import Recipe
from viewpoint_claim.student import Tuned, to_be_tuned, untuned
from viewpoint_claim.tiny_clip import take_step
from viewpoint_claim.wording import Tokenizer


def tune(
    parted: Parted, base: Any, tokenizer: Tokenizer, recipe: Recipe, *, seed: int
) -> tuple[Tuned, dict[str, float]]:
    """Tune a copy of the base; also return what the keeper of anchors told, as means over its refreshes."""
    torch.manual_seed(seed)
    views = TuningViews.of(parted, recipe)
    batches = Batches(parted, views, recipe, np.random.default_rng([seed, 2]))
    student = to_be_tuned(base, tokenizer, recipe, seed=seed)
    with TemporaryDirectory() as folder:
        keeper = make_keeper(student, parted.pictures, views, recipe, Path(folder))
        told = _take_steps(student, untuned(base, tokenizer), batches, keeper, recipe)
    merge(student.network)
    return Tuned(student.eval(), base), told


def _take_steps(
    student: Student, base: Student, batches: Batches, keeper: AnchorKeeper | None, recipe: Recipe
) -> dict[str, float]:
    objective = Objective(recipe.loss, recipe.anchors, World())
    optimiser = make_optimiser(student, recipe.optimiser)
    told: defaultdict[str, list[float]] = defaultdict(list)
    for step in range(recipe.optimiser.steps):
        for name, figure in (keeper.refresh(step) if keeper else {}).items():
            told[name].append(figure)
        student.train()
        set_learning_rate(optimiser, learning_rate(step, recipe.optimiser))
        batch = batches.draw()
        rows = batch.rows_with(keeper.outliers if keeper else None)
        features = encode(student, batch.images, rows.objects)
        parts = objective(
            features,
            text_features(student, batch.captions, frozen=recipe.text == "frozen"),
            rows,
            student.inverse_temperature(),
            anchors=keeper.look_up if keeper else None,
            pretrained=pretrained_features(base, batch.images) if recipe.loss.distillation.weight else None,
        )
        take_step(optimiser, parts.total)
        student.limit_temperature()
        if keeper:
            keeper.note(batch.views, features[: len(batch.views)])
    return {name: float(np.mean(figures)) for name, figures in told.items()}


def encode(student: Student, images: Tensor, objects: Tensor) -> Tensor:
    """Return (B, D) unit-norm features of normalised pictures (B, 3, S, S) of objects (B,)."""
    return student.finish(student.encoder.encode_images(images, tokens=True), objects)


def text_features(student: Student, captions: Sequence[str], *, frozen: bool) -> Tensor:
    """Return (B, D) unit-norm; without gradient where the text tower is frozen."""
    with torch.set_grad_enabled(not frozen):
        return student.encode_texts(student.encoder.tokenize(captions))


@torch.no_grad()
def pretrained_features(base: Student, images: Tensor) -> Tensor:
    """Return (B, D) unit-norm features of the base, which sees whole pictures."""
    return base.finish(base.encoder.encode_images(images))
