"""The minimisation step: image-text contrast, and terms that make the views of an object agree.

All features are unit-norm. Every term is a sum over its rows divided by `count`: by default the number of
rows given, in several processes the mean number per process, so that averaged gradients are those of one
process that has all rows.

Notation: B batch, V views, O objects, T texts, D embedding.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Hinge: TypeAlias = Literal["open", "closing"]
"""`open`: max(d + m, 0), as the paper and the official code have it. As d >= 0, it never closes, and m is a
constant. `closing`: max(d - m, 0), ours: a view within the margin is left alone."""


def image_text_loss(
    image_features: Tensor,
    text_features: Tensor,
    logit_scale: Tensor,
    *,
    positives: Tensor | None = None,
    all_image_features: Tensor | None = None,
    all_text_features: Tensor | None = None,
    own: Tensor | None = None,
    count: float | None = None,
) -> Tensor:
    """Contrast images with texts, in both directions (ITC, as in CLIP).

    Args:
        image_features: (B, D) of this process.
        text_features: (B, D), row i belongs to image i.
        logit_scale: () inverse temperature, about 100.
        positives: (B, A) bool, which of all texts fit each image, and as well which of all images fit each
            text; each row shares its target evenly among them. None: its own text alone.
        all_image_features: (A, D) of all processes, with gradient; those of this one where None.
        all_text_features: likewise.
        own: (B,) int64, where each row of this process stands among all; where both are the same if None.
    """
    images = image_features if all_image_features is None else all_image_features  # (A, D)
    texts = text_features if all_text_features is None else all_text_features  # (A, D)
    by_image = logit_scale * image_features @ texts.T  # (B, A)
    by_text = logit_scale * text_features @ images.T  # (B, A)
    if positives is None:
        target = torch.arange(len(by_image), device=by_image.device) if own is None else own  # (B,)
    else:
        target = positives / positives.sum(dim=1, keepdim=True)  # (B, A)
    rows = F.cross_entropy(by_image, target, reduction="none") + F.cross_entropy(
        by_text, target, reduction="none"
    )  # (B,)
    return _mean(rows / 2, count)


def shared_positives(
    captions: Tensor, objects: Tensor, *, all_captions: Tensor, all_objects: Tensor
) -> Tensor:
    """Return (B, A) bool: pairs of the same caption or of the same object, which are no negatives.

    Args:
        captions: (B,) int64, equal numbers for equal captions.
        objects: (B,) int64, equal numbers for views of one object.
        all_captions: (A,) of all processes.
        all_objects: (A,) of all processes.
    """
    return (captions[:, None] == all_captions) | (objects[:, None] == all_objects)


def viewpoint_consistency_loss(
    view_features: Tensor,
    object_index: Tensor,
    anchors: Tensor,
    *,
    margin: float,
    hinge: Hinge = "closing",
    count: float | None = None,
) -> Tensor:
    """Pull outlier views towards their own object's anchor (OVT, minimisation step).

    Args:
        view_features: (V, D) of the outliers.
        object_index: (V,) int64 row of `anchors` each view belongs to.
        anchors: (O, D) constants: they get no gradient.
        margin: cosine distance in [0, 2].

    Returns:
        () loss. No outliers give a zero that still supports `backward()`.
    """
    own = anchors.detach()[object_index]  # (V, D)
    distance = 1 - (view_features * own).sum(dim=1)  # (V,)
    return _mean(F.relu(distance + (margin if hinge == "open" else -margin)), count)


def anchor_contrast_loss(
    view_features: Tensor,
    object_index: Tensor,
    anchors: Tensor,
    *,
    scale: float,
    count: float | None = None,
) -> Tensor:
    """Tell each view's own anchor from those of the batch's other objects (InfoNCE).

    Unlike a pull, this has no reason to move all views together. Meant for views without captions, towards
    anchors made of captioned ones; anchors get no gradient.

    Args:
        anchors: (O, D) of the objects in the batch of all processes.
        scale: inverse temperature; 16 was the better one in a trial.
    """
    logits = scale * view_features @ anchors.detach().T  # (V, O)
    return _mean(F.cross_entropy(logits, object_index, reduction="none"), count)


def caption_agreement_loss(
    view_features: Tensor,
    object_index: Tensor,
    anchors: Tensor,
    text_features: Tensor,
    *,
    scale: float,
    count: float | None = None,
) -> Tensor:
    """Let each view choose among captions as its object's anchor does: KL(anchor || view).

    Args:
        text_features: (T, D) captions of the batch of all processes. They and the anchors get no gradient.
        scale: inverse temperature of both distributions.
    """
    texts = text_features.detach()
    wanted = F.log_softmax(scale * anchors.detach() @ texts.T, dim=1)[object_index]  # (V, T)
    found = F.log_softmax(scale * view_features @ texts.T, dim=1)  # (V, T)
    return _mean((wanted.exp() * (wanted - found)).sum(dim=1), count)


def variance_floor_loss(features: Tensor, *, floor: float) -> Tensor:
    """Keep the batch spread out: mean over dimensions of max(0, floor - sqrt(D) * standard deviation).

    sqrt(D) makes the floor independent of the dimension: independent directions have a spread of about 1.
    As in VICReg. Needs two rows at least; fewer give zero.

    Args:
        features: (B, D) of all processes.
    """
    if len(features) < 2:
        return features.sum() * 0
    spread = features.shape[1] ** 0.5 * (features.var(dim=0) + 1e-12).sqrt()  # (D,)
    return F.relu(floor - spread).mean()


def distillation_loss(features: Tensor, pretrained_features: Tensor, *, count: float | None = None) -> Tensor:
    """Hold features near those of the pretrained model: mean cosine distance, in [0, 2].

    Args:
        pretrained_features: (B, D) of the same pictures; they get no gradient.
    """
    return _mean(1 - (features * pretrained_features.detach()).sum(dim=1), count)


def _mean(rows: Tensor, count: float | None) -> Tensor:
    return rows.sum() / max(len(rows) if count is None else count, 1e-12)
