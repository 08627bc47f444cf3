"""Which views of a sequence to keep: pure, and the same on every machine."""

import numpy as np
from numpy.typing import NDArray


def spread_by_direction(directions: NDArray[np.float64], count: int) -> list[int]:
    """Choose views whose directions are as far from each other as they can be, greedily.

    Farthest-point sampling (Gonzalez 1985): the first is the one farthest from the mean of all; each next
    one is the farthest from all that were chosen. No direction is then more than twice as far from a chosen
    one as with the best choice. Of equals, the one of lowest index is taken.

    Args:
        directions: (V, 3) unit vectors from the object to its cameras.
        count: how many; all where there are no more.

    Returns:
        `count` different indices, ascending.
    """
    if count >= len(directions):
        return list(range(len(directions)))
    if count < 1:
        return []
    mean = directions.mean(axis=0)
    chosen = [_lowest_of_largest(-(directions @ mean))]
    nearest = np.full(len(directions), -np.inf)  # cosine to the nearest chosen one
    while len(chosen) < count:
        nearest = np.maximum(nearest, directions @ directions[chosen[-1]])  # (V,)
        nearest[chosen[-1]] = np.inf
        chosen.append(_lowest_of_largest(-nearest))
    return sorted(chosen)


def spread_by_time(length: int, count: int) -> list[int]:
    """Choose `count` of `length` frames at equal intervals, the first and the last among them."""
    if count >= length:
        return list(range(length))
    if count < 2:
        return [0][:count]
    return [round(step * (length - 1) / (count - 1)) for step in range(count)]


def _lowest_of_largest(values: NDArray[np.float64]) -> int:
    """Return the lowest index of those that are largest but for rounding."""
    return int(np.flatnonzero(values >= values.max() - 1e-9)[0])
