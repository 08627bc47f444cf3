"""Caption views: `View` in, `CaptionedView` or `Rejected` out."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from struct import error as StructError
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from PIL import Image, ImageOps

from captions.prompts import category_prompt
from captions.vocabulary import Vocabulary
from captions.writing import STAGE, Task, write_captions
from mvcap.errors import BAD_ASSET, ERROR, TOO_BIG, Reason
from mvcap.records import CaptionedView, Rejected, View

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


class Captioner(Protocol):
    """A loaded model that writes one caption for each picture; closed by `with` or `close()`."""

    @property
    def identity(self) -> Mapping[str, Json]:
        """Everything but picture and prompt that the captions depend on, as JSON without machine paths."""
        ...

    def caption(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        """Write the captions of RGB pictures, in order; `prompts` is as long as `images`."""
        ...

    def caption_again(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str] | None:
        """Write captions as `caption` does, but with a decoding that avoids loops, cuts and silence.

        None where the captioner has no other decoding.
        """
        ...

    def close(self) -> None:
        """Free the model's memory; the captioner cannot be used afterwards."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class UnreadableImageError(Exception):
    """Stored bytes that give no picture; `reason` is what `Rejected` records."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def caption_views(
    views: Iterable[View],
    captioner: Captioner,
    *,
    prompt_template: str,
    batch_size: int,
    vocabulary: Vocabulary | None = None,
) -> Iterator[CaptionedView | Rejected]:
    """Caption every view, in order, with its category as guidance.

    Yields exactly one record per input view: a `CaptionedView`, or a `Rejected` where the model wrote
    nothing (`empty_caption`), the stored bytes are no picture (`bad_asset`, `too_big`) or the category
    holds no word (`error`). An error of the captioner is not caught here: the runner decides whether to
    retry the shard.

    Args:
        prompt_template: see `captions.prompts`.
        batch_size: pictures per call of the captioner.
        vocabulary: judges the captions, so that defective ones are written again; None judges nothing.
    """
    remaining = iter(views)
    while batch := list(islice(remaining, batch_size)):
        inputs = [_task_or_rejection(view, prompt_template) for view in batch]
        tasks = [one for one in inputs if isinstance(one, Task)]
        written = iter(write_captions(tasks, captioner, vocabulary))
        for one in inputs:
            yield next(written) if isinstance(one, Task) else one


def decode_image(data: bytes, background: str) -> Image.Image:
    """Decode a stored JPEG or PNG to RGB, upright, on a background colour.

    Alpha is composited here because transformers' processors put it on white, whatever the dataset
    uses. The Exif orientation is applied because `datasets` applies it too when it reads the row.

    Raises:
        UnreadableImageError: no picture, 16 bits or more per channel, or more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS` (Pillow itself only warns up to twice that many).
    """
    try:
        with Image.open(BytesIO(data)) as image:
            _refuse_unsafe(image)
            return _on_background(ImageOps.exif_transpose(image), background)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(TOO_BIG, str(error)) from error
    except (OSError, SyntaxError, ValueError, EOFError, StructError) as error:
        raise UnreadableImageError(BAD_ASSET, f"the stored picture cannot be decoded: {error}") from error


def _refuse_unsafe(image: Image.Image) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise UnreadableImageError(
            TOO_BIG, f"{image.width} x {image.height} pixels exceed the limit of {limit}"
        )
    if image.mode.startswith(("I", "F")):  # Pillow would clip these to white instead of scaling them
        raise UnreadableImageError(
            BAD_ASSET, f"pictures of mode {image.mode} are not supported: store 8 bits"
        )


def _on_background(image: Image.Image, background: str) -> Image.Image:
    """Return an RGB picture; `background` is `#rrggbb`."""
    assert re.fullmatch("#[0-9a-fA-F]{6}", background), background
    if not image.has_transparency_data:
        return image.convert("RGB")
    canvas = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(canvas, image.convert("RGBA")).convert("RGB")


def _task_or_rejection(view: View, prompt_template: str) -> Task | Rejected:
    try:
        picture = decode_image(view.image, view.background)
        return Task(view, picture, category_prompt(prompt_template, view.object.category))
    except UnreadableImageError as error:
        return Rejected(view.object.uid, STAGE, error.reason, str(error), view.view_index)
    except ValueError as error:  # a category without a word
        return Rejected(view.object.uid, STAGE, ERROR, str(error), view.view_index)
