"""How alike two pictures are: the structural similarity index. Pure."""

import numpy as np
from numpy.typing import NDArray

WINDOW = 7
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""Window and constants of Wang et al., "Image quality assessment", IEEE TIP 13(4), 2004, for 8 bits."""

Floats = NDArray[np.float64]


def structural_similarity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Compare two pictures by uniform windows that lie wholly inside, the mean over pixels and channels.

    Args:
        first, second: (H, W, C), both sides at least `WINDOW`.

    Returns:
        At most 1, which only equal pictures have.
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    mean_a, mean_b = _local_mean(a), _local_mean(b)  # (H - 6, W - 6, C)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variance_a = unbiased * (_local_mean(a * a) - mean_a**2)
    variance_b = unbiased * (_local_mean(b * b) - mean_b**2)
    covariance = unbiased * (_local_mean(a * b) - mean_a * mean_b)
    alike = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
    return float((alike / ((mean_a**2 + mean_b**2 + C1) * (variance_a + variance_b + C2))).mean())


def _local_mean(values: Floats) -> Floats:
    """Average over every window, by running sums."""
    for axis in (0, 1):
        sums = np.cumsum(values, axis=axis)
        sums = np.insert(sums, 0, 0.0, axis=axis)
        count = sums.shape[axis]
        values = np.take(sums, range(WINDOW, count), axis) - np.take(sums, range(count - WINDOW), axis)
    return values / WINDOW**2
