"""What is measured of a model's features: pure functions of arrays.

Notation: N pictures, C classes, O objects, D embedding, S seeds.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def is_right(
    features: NDArray[np.float32], class_features: NDArray[np.float32], labels: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell for each of (N, D) unit-norm pictures whether its class is the nearest of (C, D)."""
    return (features @ class_features.T).argmax(axis=1) == labels


def relative_spread(features: NDArray[np.float32], objects: NDArray[np.int64]) -> float:
    """Return how much of the variance of all features lies between the views of one object, in [0, 1].

    The spread alone falls when all features move together, which helps nobody.
    """
    total = ((features - features.mean(axis=0)) ** 2).sum()
    within = 0.0
    for views in by_object(objects):
        within += ((features[views] - features[views].mean(axis=0)) ** 2).sum()
    return float(within / total)


def by_object(objects: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return each object's rows."""
    order = np.argsort(objects, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(objects[order])) + 1)


def clustered_interval(
    values: NDArray[np.floating], objects: NDArray[np.int64], *, draws: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the mean of (N,) values by a bootstrap that draws whole objects.

    The views of one object succeed and fail together: pictures drawn one by one would claim too much.
    """
    groups = by_object(objects)
    sums = np.array([values[rows].sum() for rows in groups])  # (O,)
    counts = np.array([len(rows) for rows in groups])  # (O,)
    drawn = np.random.default_rng(0).integers(len(groups), size=(draws, len(groups)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)  # (draws,)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean over seeds and the sample's standard deviation, 0 of a single seed."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
