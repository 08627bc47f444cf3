"""From the renderer's pixels to the bytes that are stored."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """How a picture is stored; the same pixels always give the same bytes."""

    format: str
    """`jpeg` or `png`."""
    quality: int
    """Of a JPEG, 1 to 100; its chroma is not subsampled."""
    background: str
    """`#rrggbb`, in sRGB; behind every view that has no picture behind it."""
    keep_alpha: bool
    """Store RGBA instead of compositing; needs `png`."""

    def encode(self, rgba: NDArray[np.uint8], backdrop: NDArray[np.uint8] | None = None) -> bytes:
        """Encode a picture, (H, W, 4) with straight alpha, before another one, (H, W, 3), if any."""
        behind = plain_colour(self.background) if backdrop is None else backdrop
        pixels = rgba if self.keep_alpha else composite(rgba, behind)
        file = io.BytesIO()
        if self.format == "jpeg":
            Image.fromarray(pixels).save(file, "JPEG", quality=self.quality, subsampling="4:4:4")
        else:
            Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()


def plain_colour(text: str) -> NDArray[np.uint8]:
    """Read `#rrggbb`; (3,)."""
    return np.array(ImageColor.getrgb(text)[:3], dtype=np.uint8)


def composite(rgba: NDArray[np.uint8], behind: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put a picture with straight alpha, (H, W, 4), on a colour, (3,), or a picture, (H, W, 3).

    In sRGB and with integers, as browsers do: the bytes do not depend on a floating point unit.
    """
    alpha = rgba[..., 3:].astype(np.uint32)  # (H, W, 1)
    return ((rgba[..., :3] * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)
