"""What one step minimises: the contrast of images with texts, and the terms that a recipe gives a weight.

Every process computes the loss of its own rows against those of all. Averaged over processes, losses and
gradients are those of one process with the whole batch.

Notation: B batch of one process, A batch of all, U objects in A, D embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.anchors import maximise
from training.config import AnchorsConfig, LossConfig, Pulled
from training.distributed import World
from training.losses import (
    anchor_contrast_loss,
    caption_agreement_loss,
    distillation_loss,
    image_text_loss,
    shared_positives,
    variance_floor_loss,
    viewpoint_consistency_loss,
)

Anchors = Callable[[Tensor], Tensor]
"""Given objects (U,), their anchors (U, D) unit-norm, on the same device."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of a process's pictures, on its device."""

    objects: Tensor
    """(B,) int64; clean pictures have numbers of their own."""
    captions: Tensor
    """(B,) int64, -1 without one."""
    is_view: Tensor
    """(B,) bool, false for clean pictures."""
    outliers: Tensor
    """(B,) bool, of the latest anchors."""


@dataclass(slots=True)
class Parts:
    """The terms of a loss, each as it is before its weight."""

    values: dict[str, Tensor] = field(default_factory=dict)
    """The mean over processes is the value for the whole batch."""
    total: Tensor | float = 0.0

    @property
    def value(self) -> float:
        """The whole loss of this process."""
        return float(self.total.detach() if isinstance(self.total, Tensor) else self.total)

    def add(self, name: str, value: Tensor, weight: float) -> None:
        self.values[name] = value.detach()
        self.total = self.total + weight * value


@dataclass(frozen=True, slots=True)
class Objective:
    """The loss of a recipe."""

    loss: LossConfig
    settings: AnchorsConfig
    world: World

    def __call__(
        self,
        features: Tensor,
        texts: Tensor,
        rows: Rows,
        inverse_temperature: Tensor,
        *,
        anchors: Anchors | None,
        pretrained: Tensor | None = None,
    ) -> Parts:
        """Compute the loss of this process's rows.

        Args:
            features: (B, D) unit-norm, of this process.
            texts: (B, D) unit-norm, of rows without a caption whatever.
            anchors: of the latest maximisation; None makes them of the batch's own views.
            pretrained: (B, D) features of the pretrained model, where it is distilled.
        """
        gather = self.world.gather
        everything = _Everything(
            gather(features), gather(texts), Rows(*(gather(getattr(rows, name)) for name in Rows.__slots__))
        )
        parts = Parts()
        self._contrast(parts, features, texts, rows, everything, inverse_temperature)
        if self.loss.wants_anchors:
            self._agree(parts, features, rows, everything, anchors)
        if self.loss.variance_floor.weight:
            term = variance_floor_loss(everything.features, floor=self.loss.variance_floor.floor)
            parts.add("variance_floor", term, self.loss.variance_floor.weight)
        if self.loss.distillation.weight and pretrained is not None:
            chosen = (
                ~rows.is_view if self.loss.distillation.pictures == "clean" else torch.ones_like(rows.is_view)
            )
            term = distillation_loss(features[chosen], pretrained[chosen], count=self._count(chosen))
            parts.add("distillation", term, self.loss.distillation.weight)
        return parts

    def _contrast(
        self,
        parts: Parts,
        features: Tensor,
        texts: Tensor,
        rows: Rows,
        everything: "_Everything",
        inverse_temperature: Tensor,
    ) -> None:
        captioned, all_captioned = rows.captions >= 0, everything.rows.captions >= 0
        column = all_captioned.cumsum(0) - 1  # (A,) where each row stands among those with captions
        first = self.world.rank * len(features)
        positives = None
        if self.loss.multi_positive:
            positives = shared_positives(
                rows.captions[captioned],
                rows.objects[captioned],
                all_captions=everything.rows.captions[all_captioned],
                all_objects=everything.rows.objects[all_captioned],
            )
        term = image_text_loss(
            features[captioned],
            texts[captioned],
            inverse_temperature,
            positives=positives,
            all_image_features=everything.features[all_captioned],
            all_text_features=everything.texts[all_captioned],
            own=column[first : first + len(features)][captioned],
            count=self._count(captioned),
        )
        parts.add("image_text", term, 1.0)

    def _agree(
        self, parts: Parts, features: Tensor, rows: Rows, everything: "_Everything", anchors: Anchors | None
    ) -> None:
        objects = _distinct(everything.rows.objects[everything.rows.is_view])  # (U,)
        outliers = rows.outliers
        if anchors is None:
            table, outliers = self._anchors_of_batch(everything, objects, rows)
        else:
            table = anchors(objects)  # (U, D)
        if self.settings.shuffled:
            table = table.roll(1, 0)
        index = torch.searchsorted(objects, rows.objects)  # (B,), of no account for clean pictures

        def pulled(which: Pulled) -> tuple[Tensor, Tensor, float]:
            chosen = {"outliers": outliers, "uncaptioned": rows.captions < 0, "all": rows.is_view}[which]
            chosen = chosen & rows.is_view
            return features[chosen], index[chosen], self._count(chosen)

        if (consistency := self.loss.consistency).weight:
            views, own, count = pulled(consistency.views)
            term = viewpoint_consistency_loss(
                views, own, table, margin=consistency.margin, hinge=consistency.hinge, count=count
            )
            parts.add("consistency", term, consistency.weight)
        if (contrast := self.loss.anchor_contrast).weight:
            views, own, count = pulled(contrast.views)
            term = anchor_contrast_loss(views, own, table, scale=contrast.scale, count=count)
            parts.add("anchor_contrast", term, contrast.weight)
        if (agreement := self.loss.caption_agreement).weight:
            views, own, count = pulled(agreement.views)
            texts = everything.texts[everything.rows.captions >= 0]
            term = caption_agreement_loss(views, own, table, texts, scale=agreement.scale, count=count)
            parts.add("caption_agreement", term, agreement.weight)

    def _anchors_of_batch(
        self, everything: "_Everything", objects: Tensor, rows: Rows
    ) -> tuple[Tensor, Tensor]:
        """Return anchors (U, D) of each object's views in the batch, and this process's outliers (B,)."""
        views = everything.rows.is_view.nonzero().squeeze(1)
        views = views[torch.sort(everything.rows.objects[views], stable=True).indices]  # object by object
        counts = torch.bincount(torch.searchsorted(objects, everything.rows.objects[views]))
        captioned = everything.rows.captions[views] >= 0
        found = maximise(
            everything.features.detach()[views],
            counts,
            outliers_per_object=self.settings.outliers_per_object,
            weights=self.settings.weights,
            eligible=captioned if self.settings.of == "captioned" else None,
        )
        outliers = torch.zeros_like(everything.rows.is_view)
        outliers[views] = found.outliers
        first = self.world.rank * len(rows.objects)
        return found.anchors, outliers[first : first + len(rows.objects)]

    def _count(self, chosen: Tensor) -> float:
        """Return the mean number of chosen rows over processes."""
        return self.world.total(float(chosen.sum())) / self.world.size


@dataclass(frozen=True, slots=True)
class _Everything:
    """The batch of all processes."""

    features: Tensor
    """(A, D) with gradient."""
    texts: Tensor
    """(A, D)."""
    rows: Rows


def _distinct(values: Tensor) -> Tensor:
    """Return the distinct values, sorted."""
    ordered = values.sort().values
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
