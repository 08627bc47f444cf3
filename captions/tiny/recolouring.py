"""The same pictures in other colours, so that an object's shape does not give its colour away."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

GAMMA: Final = 0.5
"""Largest natural logarithm of the exponent of recoloured levels."""

SMALL_GAMMA: Final = 0.1
"""The same where the colours stay: lights differ too."""

STRETCH: Final = 0.7
"""Largest natural logarithm of the factor by which colours move away from grey, or towards it."""

TINTED_SHARE: Final = 0.5
DARKEST_TINT: Final = 0.35
"""Least factor of a channel; without tints white things would stay white."""

ACROSS: Final = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
"""Cross product with (1, 1, 1) / sqrt(3), the axis of greys."""


def recolour(rgba: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (B, H, W, 4) pictures, a random `share` of them in other colours, all brighter or darker.

    Alpha stays, and so does what cannot be seen.
    """
    changed = rgba.copy()
    for picture in changed:
        seen = picture[..., 3] > 0  # (H, W)
        levels = picture[seen][:, :3].astype(np.float32) / 255  # (P, 3)
        if rng.random() < share:
            turned = turn_colours(levels, rng.uniform(0, 360), np.exp(rng.uniform(-STRETCH, STRETCH)))
            levels = np.clip(turned, 0, 1) ** _exponent(GAMMA, rng) * _tint(rng)
        else:
            levels = levels ** _exponent(SMALL_GAMMA, rng)
        picture[seen, :3] = np.rint(255 * levels)
    return changed


def turn_colours(levels: NDArray[np.float32], angle_deg: float, stretch: float) -> NDArray[np.float32]:
    """Turn (P, 3) levels about the greys, which stay, and move them away from grey by a factor (Rodrigues).

    The results may lie outside [0, 1].
    """
    angle, grey = np.radians(angle_deg), np.full((3, 3), 1 / 3)
    turned = np.cos(angle) * (np.eye(3) - grey) + np.sin(angle) * ACROSS
    matrix: NDArray[np.float32] = (grey + stretch * turned).astype(np.float32)
    return levels @ matrix.T


def _exponent(limit: float, rng: np.random.Generator) -> np.float32:
    return np.float32(np.exp(rng.uniform(-limit, limit)))


def _tint(rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw the (3,) factors of the channels, mostly below 1 in every other picture."""
    tint = rng.uniform(DARKEST_TINT, 1, 3) if rng.random() < TINTED_SHARE else np.ones(3)
    return tint.astype(np.float32)
