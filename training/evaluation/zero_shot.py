"""Zero-shot classification: a class is the mean of its sentences, as CLIP is evaluated.

Notation: C classes, P pictures, D embedding, K best classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import open_clip
import torch
from torch import Tensor
from torch.nn import functional as F

from mvcap.errors import TrainingDivergedError
from training.batches import Pixels, RowBatches
from training.loading import ahead
from training.student import Student

Templates: TypeAlias = Literal["openai", "plain"]
"""`openai`: the 80 sentences that CLIP was evaluated with on ImageNet; `plain`: "a photo of a {}." """
K: Final = 5
TEXTS_AT_ONCE: Final = 160

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model sees in P pictures."""

    best: Tensor
    """(P, K) int64 classes, the likeliest first; K is C where there are fewer."""
    margin: Tensor
    """(P,) cosine of the true class minus that of the best other one; positive where it is right."""
    features: Tensor
    """(P, D) unit-norm, float16."""


def sentences(templates: Templates, name: str) -> list[str]:
    """Say a class's name in every sentence."""
    if templates == "plain":
        return [f"a photo of a {name}."]
    return [template(name) for template in open_clip.OPENAI_IMAGENET_TEMPLATES]


@torch.no_grad()
def classifier(student: Student, names: Sequence[str], templates: Templates, device: torch.device) -> Tensor:
    """Return (C, D) unit-norm: of each class the mean of its sentences' unit-norm features."""
    rows = []
    for name in names:
        texts = sentences(templates, name)
        parts = [
            student.encode_texts(student.encoder.tokenize(texts[start : start + TEXTS_AT_ONCE]).to(device))
            for start in range(0, len(texts), TEXTS_AT_ONCE)
        ]
        rows.append(F.normalize(torch.cat(parts).mean(dim=0), dim=0))
    return torch.stack(rows)


@torch.no_grad()
def predict(
    student: Student,
    classes: Tensor,
    pixels: Pixels,
    labels: Tensor,
    *,
    batch: int,
    loaders: int,
    device: torch.device,
    advance: Advance | None = None,
) -> Predictions:
    """Classify every picture.

    Args:
        classes: (C, D).
        labels: (P,) int64 true classes.
        advance: is told how many pictures are done.

    Raises:
        CorruptDatasetError: a picture cannot be read.
        TrainingDivergedError: the model gives no numbers.
    """
    rows = [range(start, min(start + batch, len(labels))) for start in range(0, len(labels), batch)]
    best, margins, features = [], [], []
    loading = ahead(RowBatches(pixels, rows), range(len(rows)), loaders=loaders, pin=device.type == "cuda")
    for part, images in zip(rows, loading, strict=True):
        found = student.embed(images.to(device))  # (B, D)
        if not found.isfinite().all():
            row = part[int((~found.isfinite()).any(dim=1).nonzero()[0])]
            raise TrainingDivergedError(
                f"the features of {pixels.pictures.key(row)} are not finite: the model's weights are broken"
            )
        similarity = found @ classes.T  # (B, C)
        own = labels[part.start : part.stop, None].to(device)
        true = similarity.gather(1, own).squeeze(1)
        others = similarity.scatter(1, own, -torch.inf).amax(dim=1)
        best.append(similarity.topk(min(K, len(classes)), dim=1).indices.cpu())
        margins.append((true - others).cpu())
        features.append(found.half().cpu())
        if advance:
            advance(part.stop)
    return Predictions(torch.cat(best), torch.cat(margins), torch.cat(features))
