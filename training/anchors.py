"""Object anchors and outlier views: the maximisation step of Omniview-Tuning.

Views are ragged: `features` holds the views of the first object, then those of the second, and so on;
`counts` says how many each has. One view and thousands work like any other number.

Notation: V views, O objects, N views of one object, D embedding.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

AnchorWeights: TypeAlias = Literal["paper", "official", "uniform"]
"""How much a view counts for its object's anchor, d being the cosine distance to its nearest neighbour:

`paper`: 1 / (d + CLOSEST). The paper weighs by nearest-neighbour distance without giving the formula; in this
reading views in a crowd count more, so that odd ones do not move the anchor. `official`: 1 / (1 - d), as the
published code has it: views unlike their neighbours count more. `uniform`: all the same.
"""

CLOSEST: Final = 0.01
"""Ours: without it two equal pictures would outweigh all others."""
LEAST_SIMILARITY: Final = 1e-6
"""Ours: the official weights divide by a similarity, which may be zero."""
DECIMALS: Final = 6
"""Distances are compared after rounding, because the last bits of a product depend on its shape."""
LARGEST_PRODUCT: Final = 2**24
"""Elements of a product of views with views that is held at once: 64 MB in float32."""


@dataclass(frozen=True, slots=True)
class Maximisation:
    """What the minimisation step pulls, and where to."""

    anchors: Tensor
    """(O, D) unit-norm, in float32 or wider; zeros for an object without views."""
    outliers: Tensor
    """(V,) bool: the views of each object that are farthest from its anchor."""
    distances: Tensor
    """(V,) cosine distance of each view to its object's anchor, in [0, 2]."""


def maximise(
    features: Tensor,
    counts: Tensor,
    *,
    outliers_per_object: int,
    weights: AnchorWeights = "paper",
    eligible: Tensor | None = None,
) -> Maximisation:
    """Find each object's anchor, and its `outliers_per_object` views farthest from it.

    Objects with so many views or fewer have all of them as outliers, an object with a single view none: it
    is its own anchor. Of equally far views the first ones are taken.

    Args:
        features: (V, D) of any length and dtype; directions alone count.
        counts: (O,) int64, views of each object; they add up to V. Zeros are allowed.
        eligible: (V,) bool, the views that anchors are made of; all where None. An object without an
            eligible view has all of its views take part.
    """
    features = F.normalize(features.float() if features.itemsize < 4 else features, dim=1)  # (V, D)
    anchors = features.new_zeros(len(counts), features.shape[1])  # (O, D)
    distances = features.new_zeros(len(features))  # (V,)
    outliers = torch.zeros(len(features), dtype=torch.bool, device=features.device)  # (V,)
    for objects, rows in _equal_counts(counts.to(features.device)):
        views = features[rows]  # (O, N, D)
        weight = _weights(views, weights, None if eligible is None else eligible[rows])  # (O, N)
        anchor = F.normalize((weight.unsqueeze(1) @ views).squeeze(1), dim=1)  # (O, D)
        distance = 1 - (views @ anchor.unsqueeze(2)).squeeze(2)  # (O, N)
        anchors[objects] = anchor
        distances[rows] = distance.clamp(min=0)
        if rows.shape[1] > 1:
            farthest = torch.sort(-distance.round(decimals=DECIMALS), dim=1, stable=True).indices
            outliers[rows.gather(1, farthest[:, :outliers_per_object]).flatten()] = True
    return Maximisation(anchors, outliers, distances)


def _equal_counts(counts: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield objects (O,) that have the same number of views, with the rows (O, N) of these.

    No padding: each chunk is a dense block, and what it holds depends on no other object.
    """
    first = counts.cumsum(0) - counts  # (O,) row of each object's first view
    for count in sorted(set(counts.tolist())):
        if count == 0:
            continue
        within = torch.arange(count, device=counts.device)  # (N,)
        members = (counts == count).nonzero().squeeze(1)
        for chunk in members.split(max(1, LARGEST_PRODUCT // count**2)):
            yield chunk, first[chunk, None] + within


def _weights(views: Tensor, kind: AnchorWeights, eligible: Tensor | None) -> Tensor:
    """Return (O, N) non-negative weights; their sum is left to the normalisation of the anchor."""
    if eligible is None:
        eligible = torch.ones(views.shape[:2], dtype=torch.bool, device=views.device)
    eligible = eligible | ~eligible.any(dim=1, keepdim=True)  # (O, N)
    if kind == "uniform":
        return eligible.to(views.dtype)
    nearest = _nearest_similarity(views, eligible)  # (O, N)
    weight = 1 / (1 - nearest + CLOSEST) if kind == "paper" else 1 / nearest.clamp(min=LEAST_SIMILARITY)
    return torch.where(eligible, weight, 0.0)


def _nearest_similarity(views: Tensor, eligible: Tensor) -> Tensor:
    """Return (O, N): each view's cosine to the nearest other eligible view of its object; 1 without one."""
    count = views.shape[1]
    parts = []
    for start in range(0, count, max(1, LARGEST_PRODUCT // count)):
        block = views[:, start : start + max(1, LARGEST_PRODUCT // count)]  # (O, b, D)
        similarity = block @ views.transpose(1, 2)  # (O, b, N)
        similarity.masked_fill_(~eligible.unsqueeze(1), -torch.inf)
        similarity.diagonal(start, 1, 2).fill_(-torch.inf)
        parts.append(similarity.amax(dim=2))
    nearest = torch.cat(parts, dim=1)
    return torch.where(nearest.isinf(), 1.0, nearest).clamp(-1, 1)
