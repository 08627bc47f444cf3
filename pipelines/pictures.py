"""Make a picture file what a dataset stores: a JPEG or PNG of 8 bits that every reader shows alike."""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageOps

from captions.stage import open_picture
from mvcap.errors import BAD_ASSET
from mvcap.pictures import SIXTEEN_BIT, UnusableInputError
from render.image_checks import Verdict, foreground_fraction, judge_picture

KEPT: Final = {"JPEG": {"L", "RGB"}, "PNG": {"1", "L", "LA", "P", "RGB", "RGBA"}}
"""Formats and modes whose bytes are stored as they are; all else becomes a PNG."""


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
        UnusableInputError: no picture, one that is cut off, animated or too big, or 32 bits per channel.
    """
    with open_picture(data) as image:
        kind = "JPEG" if image.format == "MPO" else image.format  # a camera's JPEG with a preview behind it
        if kind != "JPEG" and (frames := getattr(image, "n_frames", 1)) > 1:
            raise UnusableInputError(BAD_ASSET, f"animated: {frames} frames; store the one to caption")
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
        raise UnusableInputError(BAD_ASSET, f"pictures of mode {image.mode} are not supported: store 8 bits")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


@dataclass(frozen=True, slots=True)
class StoredMask:
    """A mask as it is stored, and how much of the picture it says the object covers."""

    png: bytes
    coverage: float
    """In [0, 1]."""


def mask_of(data: bytes, picture: StoredPicture) -> StoredMask:
    """Return a mask picture as an 8-bit grey PNG of its picture's size, whatever colours it was drawn in.

    Raises:
        UnusableInputError: it is no picture, or has another shape.
    """
    with open_picture(data) as image:
        image.load()
        grey = ImageOps.exif_transpose(image)
        if grey.has_transparency_data:
            grey = grey.convert("RGBA").getchannel("A")
        elif grey.mode not in {"1", "L"}:  # a colour for each object
            grey = grey.convert("RGB").convert("L").point(lambda level: 255 if level else 0)
        grey = grey.convert("L")
        if grey.getextrema() == (0, 1):
            grey = grey.point(lambda level: 255 * level)
        if abs(grey.width * picture.height - grey.height * picture.width) > max(grey.size) * 2:
            sizes = f"{grey.width} x {grey.height}, its picture {picture.width} x {picture.height}"
            raise UnusableInputError(BAD_ASSET, f"the mask is {sizes}")
        if grey.size != (picture.width, picture.height):
            grey = grey.resize((picture.width, picture.height), Image.Resampling.BILINEAR)
        grey.save(buffer := io.BytesIO(), "PNG")
        return StoredMask(buffer.getvalue(), float(np.asarray(grey).mean() / 255))


def judge_stored(data: bytes) -> tuple[Verdict | None, float | None]:
    """Judge a picture that was rendered on a transparent film, and tell how much of it the object covers.

    Returns:
        Nones for a picture without alpha, of which neither can be told.
    """
    with open_picture(data) as image:
        if not image.has_transparency_data:
            return None, None
        rgba = np.asarray(image.convert("RGBA"))  # (H, W, 4)
    return judge_picture(rgba), foreground_fraction(rgba)
