"""Figures of an evaluation, with intervals that know that the views of an object are not independent.

Notation: P pictures, O objects, D embedding.
"""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Z95: Final = 1.959964
"""Half-width of a 95 % interval in standard errors."""


@dataclass(frozen=True, slots=True)
class Share:
    """A mean over pictures, in [0, 1], and its 95 % interval."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def clustered_share(values: Floats, objects: Ints, *, bounds: tuple[float, float] = (0.0, 1.0)) -> Share:
    """Return the mean of values (P,) and its 95 % interval, with objects as the independent units.

    The linearised variance of a ratio of sums over objects: O / (O - 1) * sum_o (S_o - mean N_o)^2 / P^2.
    Of a single object nothing can be said: the interval is all that is possible.
    """
    _, owner = np.unique(objects, return_inverse=True)
    counts = np.bincount(owner).astype(float)
    sums = np.bincount(owner, weights=values)
    mean = float(values.mean())
    if len(counts) < 2:
        return Share(mean, *bounds)
    variance = len(counts) / (len(counts) - 1) * np.square(sums - mean * counts).sum() / counts.sum() ** 2
    half = Z95 * float(np.sqrt(variance))
    return Share(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]))


def clustered_difference(after: Floats, before: Floats, objects: Ints) -> Share:
    """Return the mean of `after - before` (P,) on the same pictures, with its interval, in [-1, 1]."""
    return clustered_share(after - before, objects, bounds=(-1.0, 1.0))


@dataclass(frozen=True, slots=True)
class ObjectFigures:
    """Agreement between the views of objects that have several."""

    objects: int
    """With more than one view."""
    always_right: float
    """Share of objects that every view shows rightly: accuracy from the worst view."""
    worst_margin: float
    """Mean over objects of the least margin of their views."""
    consistency: float
    """Mean over objects of the share of views that agree with the commonest answer."""
    spread: float
    """Variance of features within objects divided by their total variance: 0 where all views of an object are
    alike, about 1 where objects are no more alike than anything. A spread that is not divided also falls when
    everything moves together."""

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def object_figures(
    right: Bools, margin: Floats, answer: Ints, features: Floats, objects: Ints
) -> ObjectFigures | None:
    """Compare the views of each object; None where no object has several.

    Args:
        right: (P,) whether the first answer is true.
        margin: (P,) see `Predictions`.
        answer: (P,) first answers.
        features: (P, D) unit-norm.
        objects: (P,) to which object each picture belongs.
    """
    _, owner, counts = np.unique(objects, return_inverse=True, return_counts=True)
    several = counts > 1  # (O,)
    if not several.any():
        return None
    chosen = several[owner]
    owner = np.unique(owner[chosen], return_inverse=True)[1]
    right, margin, answer, features = right[chosen], margin[chosen], answer[chosen], features[chosen]
    size = np.bincount(owner).astype(float)  # (O,)
    wrong = np.bincount(owner, weights=~right)
    least = np.full(len(size), np.inf)
    np.minimum.at(least, owner, margin)
    pair, votes = np.unique(np.stack([owner, answer], axis=1), axis=0, return_counts=True)
    most = np.zeros(len(size))
    np.maximum.at(most, pair[:, 0], votes)
    return ObjectFigures(
        objects=len(size),
        always_right=float((wrong == 0).mean()),
        worst_margin=float(least.mean()),
        consistency=float((most / size).mean()),
        spread=_spread(features, owner),
    )


def _spread(features: Floats, owner: Ints) -> float:
    size = np.bincount(owner).astype(float)
    sums = np.zeros((len(size), features.shape[1]))
    np.add.at(sums, owner, features)
    within = np.square(features - (sums / size[:, None])[owner]).sum()
    total = np.square(features - features.mean(axis=0)).sum()
    return float(within / total) if total > 0 else 0.0


def as_json(value: Any) -> Any:
    """Return plain values of figures; None stays None."""
    return None if value is None else value.to_json()
