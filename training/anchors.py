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
"""How much a view counts for its object's anchor:

`paper`: 1 / (d + CLOSEST), d being the cosine distance to its nearest neighbour. The paper weighs by
nearest-neighbour distance without giving the formula; in this reading views in a crowd count more, so that
odd ones do not move the anchor. `official`: 1 / mean cosine to the NEIGHBOURS nearest, as the published code
has it: views unlike their neighbours count more. `uniform`: all the same.
"""

NEIGHBOURS: Final = 5
"""The official code's, which wants at least as many; here an object with fewer has all of them count."""

CLOSEST: Final = 0.01
"""Ours: without it two equal pictures would outweigh all others."""
LEAST_SIMILARITY: Final = 1e-6
"""Ours: the official weights divide by a similarity, which may be zero."""
DECIMALS: Final = 6
"""Distances are compared after rounding, because the last bits of a product depend on its shape."""
LARGEST_BLOCK: Final = 2**20
"""Elements of views, or of their products, worked on at once: 4 MB in float32 stay in a CPU's cache."""


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
    width = features.shape[1]
    dtype = torch.promote_types(features.dtype, torch.float32)
    anchors = features.new_zeros(len(counts), width, dtype=dtype)  # (O, D)
    distances = features.new_zeros(len(features), dtype=dtype)  # (V,)
    outliers = torch.zeros(len(features), dtype=torch.bool, device=features.device)  # (V,)
    for objects, rows in _equal_counts(counts.to(features.device), width):
        views = F.normalize(features[rows].to(dtype), dim=2)  # (O, N, D)
        weight = _weights(views, weights, None if eligible is None else eligible[rows])  # (O, N)
        anchor = F.normalize((weight.unsqueeze(1) @ views).squeeze(1), dim=1)  # (O, D)
        distance = 1 - (views @ anchor.unsqueeze(2)).squeeze(2)  # (O, N)
        anchors[objects] = anchor
        distances[rows] = distance.clamp(min=0)
        if rows.shape[1] > 1:
            farthest = torch.sort(-distance.round(decimals=DECIMALS), dim=1, stable=True).indices
            outliers[rows.gather(1, farthest[:, :outliers_per_object]).flatten()] = True
    return Maximisation(anchors, outliers, distances)


def _equal_counts(counts: Tensor, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield objects (O,) that have the same number of views, with the rows (O, N) of these.

    No padding: each chunk is a dense block, and what it holds depends on no other object.
    """
    first = counts.cumsum(0) - counts  # (O,) row of each object's first view
    for count in sorted(set(counts.tolist())):
        if count == 0:
            continue
        within = torch.arange(count, device=counts.device)  # (N,)
        members = (counts == count).nonzero().squeeze(1)
        for chunk in members.split(max(1, LARGEST_BLOCK // (count * max(count, width)))):
            yield chunk, first[chunk, None] + within


def _weights(views: Tensor, kind: AnchorWeights, eligible: Tensor | None) -> Tensor:
    """Return (O, N) non-negative weights; their sum is left to the normalisation of the anchor."""
    if eligible is None:
        eligible = torch.ones(views.shape[:2], dtype=torch.bool, device=views.device)
    eligible = eligible | ~eligible.any(dim=1, keepdim=True)  # (O, N)
    if kind == "uniform":
        return eligible.to(views.dtype)
    if kind == "paper":
        weight = 1 / (1 - _near_similarity(views, eligible, 1) + CLOSEST)
    else:
        weight = 1 / _near_similarity(views, eligible, NEIGHBOURS).clamp(min=LEAST_SIMILARITY)
    return torch.where(eligible, weight, 0.0)


def _near_similarity(views: Tensor, eligible: Tensor, neighbours: int) -> Tensor:
    """Return (O, N): each view's mean cosine to its nearest eligible others, or 1 where it has none."""
    count = views.shape[1]
    parts = []
    for start in range(0, count, max(1, LARGEST_BLOCK // count)):
        block = views[:, start : start + max(1, LARGEST_BLOCK // count)]  # (O, b, D)
        similarity = block @ views.transpose(1, 2)  # (O, b, N)
        similarity.masked_fill_(~eligible.unsqueeze(1), -torch.inf)
        similarity.diagonal(start, 1, 2).fill_(-torch.inf)
        parts.append(similarity.topk(min(neighbours, count), dim=2).values)
    near = torch.cat(parts, dim=1)  # (O, N, n)
    found = near.isfinite()
    mean = torch.where(found, near, 0.0).sum(dim=2) / found.sum(dim=2)  # NaN where nothing is found
    return mean.nan_to_num(1.0).clamp(-1, 1)
