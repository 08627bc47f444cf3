"""A captioner without a model: it names the picture's mean colour and repeats what the prompt guides to.

For pipelines under test and for trying a cluster out. Its captions are a pure function of picture and
prompt.
"""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Annotated, Final, Self

from PIL import Image, ImageStat
from pydantic import BaseModel, ConfigDict, Field

from captions.captioner import Captioner, Json
from mvcap.config import OPERATIONAL

COLOURS: Final = {
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "white": (255, 255, 255),
    "red": (200, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (235, 225, 50),
    "green": (50, 150, 60),
    "blue": (50, 80, 200),
    "purple": (130, 60, 160),
    "pink": (240, 150, 180),
    "brown": (110, 75, 45),
}
"""Reference points in sRGB, 0 to 255."""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    image_seconds: Annotated[float, Field(ge=0), OPERATIONAL] = 0.0
    """Time to sleep per picture, as if a device worked on it."""
    empty_for: tuple[str, ...] = ()
    """Prompts with one of these substrings get an empty caption."""
    stutter_for: tuple[str, ...] = ()
    """Prompts with one of these substrings get a caption that loops, until it is written again."""


def check(options: Options) -> None:
    """Pass: there is no model to find."""


def create(options: Options) -> Captioner:
    """Return the captioner; nothing is loaded."""
    return FakeCaptioner(options)


class FakeCaptioner:
    """Captions such as `a red picture of a chair`."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @property
    def identity(self) -> Mapping[str, Json]:
        options = self._options.model_dump(mode="json", include={"empty_for", "stutter_for"})
        return {"backend": "fake", "model": "mean colour", **options}

    def prepare(self, image: Image.Image) -> Image.Image:
        """Leave a picture as it is."""
        return image

    def caption(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        time.sleep(self._options.image_seconds * len(images))
        captions = [self._caption_one(image, prompt) for image, prompt in zip(images, prompts, strict=True)]
        return [
            " ".join([caption] * 3) if any(text in prompt for text in self._options.stutter_for) else caption
            for caption, prompt in zip(captions, prompts, strict=True)
        ]

    def caption_again(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        time.sleep(self._options.image_seconds * len(images))
        return [self._caption_one(image, prompt) for image, prompt in zip(images, prompts, strict=True)]

    def _caption_one(self, image: Image.Image, prompt: str) -> str:
        if any(text in prompt for text in self._options.empty_for):
            return ""
        _, guided, category = prompt.rstrip(". ").rpartition(" is a ")
        return f"a {colour_word(image)} picture of " + (f"a {category}" if guided else f"something: {prompt}")

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def colour_word(image: Image.Image) -> str:
    """Name the colour nearest to an RGB picture's mean, by Euclidean distance in sRGB."""
    mean = ImageStat.Stat(image).mean
    return min(COLOURS, key=lambda word: sum((a - b) ** 2 for a, b in zip(COLOURS[word], mean, strict=True)))
