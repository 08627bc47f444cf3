"""Make a picture file what a dataset stores: a JPEG or PNG of 8 bits that every reader shows alike."""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from captions.stage import UnreadableImageError, open_picture
from mvcap.errors import BAD_ASSET

KEPT: Final = {"JPEG": {"L", "RGB"}, "PNG": {"1", "L", "LA", "P", "RGB", "RGBA"}}
"""Formats and modes whose bytes are stored as they are; all else becomes a PNG."""
SIXTEEN_BIT: Final = {"I;16", "I;16L", "I;16B"}


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A picture as it is stored, with the size it has when upright."""

    data: bytes
    width: int
    height: int


def storable_picture(data: bytes) -> StoredPicture:
    """Return a picture's own bytes, or a PNG of the same look where they would not do.

    Alpha is kept, for the captioner composites it on the background that the row names. 16 bits of grey
    are scaled to 8, CMYK becomes RGB by Pillow's formula, without colour profiles.

    Raises:
        UnreadableImageError: no picture, one that is cut off, animated or too big, or 32 bits per channel.
    """
    with open_picture(data) as image:
        kind = "JPEG" if image.format == "MPO" else image.format  # a camera's JPEG with a preview behind it
        if kind != "JPEG" and (frames := getattr(image, "n_frames", 1)) > 1:
            raise UnreadableImageError(BAD_ASSET, f"animated: {frames} frames; store the one to caption")
        image.load()
        upright = ImageOps.exif_transpose(image)
        if image.mode not in KEPT.get(kind or "", ()):
            _eight_bits(upright).save(buffer := io.BytesIO(), "PNG")
            data = buffer.getvalue()
        return StoredPicture(data, *upright.size)


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BIT:
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.mode.startswith(("I", "F")):
        raise UnreadableImageError(
            BAD_ASSET, f"pictures of mode {image.mode} are not supported: store 8 bits"
        )
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
