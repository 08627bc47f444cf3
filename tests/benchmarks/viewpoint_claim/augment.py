"""Pictures as a model takes them, varied for training."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

WHITE_LEVEL, LEVEL_SPREAD = 1.0, 0.5
"""White is zero, so that a plain background says nothing to the patches."""


def premultiplied(rgba: NDArray[np.uint8]) -> Tensor:
    """Return (B, 4, H, W) levels in [0, 1], colours times alpha."""
    pixels = torch.from_numpy(np.ascontiguousarray(rgba)).permute(0, 3, 1, 2).float().div_(255)
    pixels[:, :3] *= pixels[:, 3:]
    return pixels


def on_ground(pixels: Tensor, ground: Tensor) -> Tensor:
    """Put premultiplied (B, 4, H, W) on colours (B, 3): (B, 3, H, W)."""
    return pixels[:, :3] + ground[:, :, None, None] * (1 - pixels[:, 3:])


def normalised(levels: Tensor) -> Tensor:
    return (levels - WHITE_LEVEL) / LEVEL_SPREAD


@dataclass(frozen=True, slots=True)
class Variation:
    """How pictures are varied; see `vary`."""

    smallest: float = 0.75
    largest: float = 1.15
    stretch: float = 0.2
    """Largest logarithm of the ratio of width to height."""
    shift: float = 0.08
    """Of the whole picture's side."""
    tilt_deg: float = 8.0
    recoloured: float = 0.3
    """Share whose colours are mixed; captions must not name these."""
    coloured_ground: float = 0.2
    gamma: float = 0.1
    """Largest logarithm of the exponent of all levels."""


VARIATION = Variation()


def vary(rgba: NDArray[np.uint8], variation: Variation, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, scale, stretch, tilt, shift and recolour pictures, on grounds of many colours.

    Returns:
        (B, 3, H, W) normalised pictures, and (B,) bool which of them have other colours than before.
    """
    count = len(rgba)
    moved = F.grid_sample(
        premultiplied(rgba),
        F.affine_grid(affine(count, variation, rng), [count, 4, *rgba.shape[1:3]], align_corners=False),
        align_corners=False,
    )
    recoloured = torch.from_numpy(rng.random(count) < variation.recoloured)
    mixed = mix_colours(moved, rng)
    pixels = torch.where(recoloured[:, None, None, None], mixed, moved)
    colours = torch.from_numpy(rng.uniform(0.35, 1, (count, 3)).astype(np.float32))
    tinted = torch.from_numpy(rng.random((count, 1)) < variation.coloured_ground)
    levels = on_ground(pixels, torch.where(tinted, colours, 1.0)).clamp(1e-4, 1)
    exponents = np.exp(rng.uniform(-variation.gamma, variation.gamma, (count, 1, 1, 1))).astype(np.float32)
    return normalised(levels ** torch.from_numpy(exponents)), recoloured


def affine(count: int, variation: Variation, rng: np.random.Generator) -> Tensor:
    """Draw (count, 2, 3) maps from the new picture's coordinates in [-1, 1] to the old one's."""
    zoom = 1 / rng.uniform(variation.smallest, variation.largest, count)
    stretch = np.exp(rng.uniform(-variation.stretch, variation.stretch, count) / 2)
    tilt = np.radians(rng.uniform(-variation.tilt_deg, variation.tilt_deg, count))
    mirror = rng.choice([-1, 1], count)
    matrix = np.empty((count, 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = zoom * stretch * np.cos(tilt) * mirror, -zoom * np.sin(tilt) * mirror
    matrix[:, 1, 0], matrix[:, 1, 1] = zoom * np.sin(tilt), zoom / stretch * np.cos(tilt)
    matrix[:, :, 2] = 2 * rng.uniform(-variation.shift, variation.shift, (count, 2))
    return torch.from_numpy(matrix)


def mix_colours(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Mix the channels of premultiplied (B, 4, H, W) pictures; none gets brighter."""
    weights = rng.dirichlet([0.6] * 3, (len(pixels), 3)) * rng.uniform(0.5, 1, (len(pixels), 3, 1))
    mixed = torch.einsum("bij,bjhw->bihw", torch.from_numpy(weights.astype(np.float32)), pixels[:, :3])
    return torch.cat([mixed, pixels[:, 3:]], dim=1)
