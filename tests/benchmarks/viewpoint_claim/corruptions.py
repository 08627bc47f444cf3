"""Frontal pictures, damaged in two dimensions: the 2D-OOD column."""

from collections.abc import Callable
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
"""(H, W, 3) sRGB."""


def blur(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(1.0, 1.8))))


def noise(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return _rounded(pixels + rng.normal(0, rng.uniform(25, 45), pixels.shape))


def contrast(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Move all levels towards a grey."""
    return _rounded(128 + rng.uniform(0.25, 0.45) * (pixels.astype(np.float32) - 128))


def jpeg(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(6, 15)))
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def sketch(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Draw dark lines where brightness changes, and nothing else."""
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    down, right = np.gradient(grey)
    lines = 255 - np.clip(rng.uniform(2.5, 4) * np.hypot(down, right), 0, 255)
    return np.repeat(_rounded(lines)[..., None], 3, axis=2)


def occlusion(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Put a plain square of a third of the side somewhere before the object."""
    side = pixels.shape[0] // 3
    top, left = rng.integers(side // 2, pixels.shape[0] - side - side // 2 + 1, 2)
    hidden = pixels.copy()
    hidden[top : top + side, left : left + side] = rng.integers(0, 256, 3)
    return hidden


CORRUPTIONS: Final[dict[str, Callable[[Pixels, np.random.Generator], Pixels]]] = {
    function.__name__: function for function in (blur, noise, contrast, jpeg, sketch, occlusion)
}


def _rounded(levels: NDArray[np.floating]) -> Pixels:
    return np.rint(levels).clip(0, 255).astype(np.uint8)
