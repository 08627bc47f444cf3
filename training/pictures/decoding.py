"""From stored bytes to RGB pictures and to what a network eats."""

import io
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mvcap.errors import CorruptDatasetError
from mvcap.pictures import SIXTEEN_BIT, UNDECODABLE
from training.dual_encoder import Preprocessing
from training.pictures import EncodedPicture


def decode(picture: EncodedPicture, key: str) -> Image.Image:
    """Return an RGB picture; alpha is composited on the recorded background, 16 bits of grey become 8.

    Raises:
        CorruptDatasetError: it does not decode, or has 32 bits a channel; the message names `key`.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(picture.data))
        if picture.exif:
            ImageOps.exif_transpose(image, in_place=True)
        if image.mode == "RGB":
            image.load()
            return image
        if image.mode in SIXTEEN_BIT:
            return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8)).convert("RGB")
        if image.mode in ("I", "F"):
            raise ValueError(f"pictures of mode {image.mode} have no known white; store 8 bits")
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            layers = Image.new("RGBA", image.size, picture.background), image.convert("RGBA")
            return Image.alpha_composite(*layers).convert("RGB")
        return image.convert("RGB")
    except UnidentifiedImageError as error:  # whose message is the address of a buffer
        raise CorruptDatasetError(
            f"the picture {key} does not decode: of no known format; mend it or take it out"
        ) from error
    except (Image.DecompressionBombError, *UNDECODABLE) as error:
        raise CorruptDatasetError(f"the picture {key} does not decode: {error}") from error


Crop: TypeAlias = Literal["resized", "window"]
"""`resized`: a random part, brought to size. `window`: the picture with its shorter side at `WINDOWED` times
the size, and a window of the size anywhere in it; copies that have this side already are not resampled."""

WINDOWED: Final = 8 / 7
"""256 pixels for 224."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of training pictures; none where everything stays at its first value."""

    smallest_crop: float = 1.0
    """Share of the area that a random crop keeps at least, in (0, 1]; aspect ratios stay in 3/4 to 4/3. Of no
    account for a window."""
    rotation_deg: float = 0.0
    """Turned by up to so much to either side, corners black; the official code's is 90."""
    shift: float = 0.0
    """Moved by up to this share of its size, what comes in black; the official code's is 0.1."""
    crop: Crop = "resized"

    def apply(
        self, image: Image.Image, size: int, interpolation: int, rng: np.random.Generator
    ) -> Image.Image:
        """Return a random `size` x `size` version of a picture."""
        if self.rotation_deg or self.shift:
            turn = rng.uniform(-self.rotation_deg, self.rotation_deg)
            x, y = (round(rng.uniform(-self.shift, self.shift) * side) for side in image.size)
            image = image.rotate(turn, Image.Resampling.BILINEAR, translate=(x, y))
        if self.crop == "window":
            return _random_window(image, size, interpolation, rng)
        box = _random_box(image.size, self.smallest_crop, rng)
        return image.resize((size, size), Image.Resampling(interpolation), box=box)


def _random_window(
    image: Image.Image, size: int, interpolation: int, rng: np.random.Generator
) -> Image.Image:
    scale = round(size * WINDOWED) / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    if scale != 1:
        image = image.resize((width, height), Image.Resampling(interpolation))
    left, upper = rng.integers(0, width - size + 1), rng.integers(0, height - size + 1)
    return image.crop((left, upper, left + size, upper + size))


def _random_box(
    size: tuple[int, int], smallest: float, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """Draw a crop (left, upper, right, lower) of an area in [smallest, 1], in the middle where none fits."""
    width, height = size
    for _ in range(10):
        area = width * height * rng.uniform(smallest, 1.0)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = (area * ratio) ** 0.5, (area / ratio) ** 0.5
        if w <= width and h <= height:
            left, upper = rng.uniform(0, width - w), rng.uniform(0, height - h)
            return left, upper, left + w, upper + h
    side = min(width, height)
    left, upper = (width - side) / 2, (height - side) / 2
    return left, upper, left + side, upper + side


def to_pixels(
    image: Image.Image,
    preprocessing: Preprocessing,
    augmentation: Augmentation | None = None,
    rng: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    """Return (3, S, S): as the model's own evaluation does it, or augmented where an `rng` is given."""
    if augmentation is not None and rng is not None:
        interpolation = getattr(Image.Resampling, preprocessing.interpolation.upper())
        image = augmentation.apply(image, preprocessing.size, interpolation, rng)
    else:
        image = preprocessing.fit(image)
    return np.asarray(image, dtype=np.uint8).transpose(2, 0, 1)
