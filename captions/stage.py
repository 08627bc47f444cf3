"""Caption views: `View` in, `CaptionedView` or `Rejected` out."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import islice
from struct import error as StructError
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias

from PIL import Image, ImageOps

from captions.ahead import map_ahead
from captions.prompts import category_prompt
from mvcap.errors import BAD_ASSET, EMPTY_CAPTION, ERROR, TOO_BIG, Reason
from mvcap.records import CaptionedView, Rejected, View

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

STAGE: Final = "caption"

Picture: TypeAlias = Any
"""An RGB `PIL.Image.Image`, or what a captioner's `prepare` made of it."""
Input: TypeAlias = tuple[Picture, str]
"""A picture and its prompt."""


@dataclass(frozen=True, slots=True)
class NoCaption:
    """Stands for the caption of a picture that a captioner could not caption, though it works otherwise."""

    reason: Reason
    message: str


class Captioner(Protocol):
    """A loaded model that writes one caption for each picture; closed by `with` or `close()`."""

    @property
    def identity(self) -> Mapping[str, Json]:
        """Everything but picture and prompt that the captions depend on, as JSON without machine paths."""
        ...

    def prepare(self, image: Image.Image) -> Picture:
        """Do to an RGB picture what needs no device; called ahead of `caption`, from several threads."""
        ...

    def caption(self, images: Sequence[Picture], prompts: Sequence[str]) -> Sequence[str | NoCaption]:
        """Write the captions of RGB pictures, prepared or not, in order; `prompts` is as long."""
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
    threads: int = 1,
) -> Iterator[CaptionedView | Rejected]:
    """Caption every view, in order, with its category as guidance.

    Yields exactly one record per input view: a `CaptionedView`, or a `Rejected` where the model wrote
    nothing (`empty_caption`) or gave a `NoCaption` (its reason), the stored bytes are no picture
    (`bad_asset`, `too_big`) or the category holds no word (`error`). An error of the captioner is not
    caught here: the runner decides whether to retry the shard.

    Args:
        prompt_template: see `captions.prompts`.
        batch_size: pictures per call of the captioner. Up to as many again are decoded and prepared
            while it works.
        threads: how many decode and prepare.
    """
    prepare = partial(_input_or_rejection, captioner=captioner, prompt_template=prompt_template)
    with closing(map_ahead(prepare, views, threads=threads, limit=batch_size)) as prepared:
        while batch := list(islice(prepared, batch_size)):
            inputs = [one for _, one in batch if not isinstance(one, Rejected)]
            captions = iter(_caption_all(captioner, inputs))
            for view, one in batch:
                if isinstance(one, Rejected):
                    yield one
                else:
                    yield _captioned_or_rejection(view, one[1], next(captions))


def decode_image(data: bytes, background: str) -> Image.Image:
    """Decode a stored JPEG or PNG to RGB, upright, on a background colour.

    Alpha is composited here because transformers' processors put it on white, whatever the dataset
    uses. The Exif orientation is applied because `datasets` applies it too when it reads the row.

    Raises:
        UnreadableImageError: no picture, 16 bits or more per channel, or more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS` (Pillow itself only warns up to twice that many).
    """
    with open_picture(data) as image:
        if image.mode.startswith(("I", "F")):  # Pillow would clip these to white instead of scaling them
            message = f"pictures of mode {image.mode} are not supported: store 8 bits"
            raise UnreadableImageError(BAD_ASSET, message)
        return _on_background(ImageOps.exif_transpose(image), background)


@contextmanager
def open_picture(data: bytes) -> Iterator[Image.Image]:
    """Open a picture of a bearable size for what is done inside the block.

    Raises:
        UnreadableImageError: it has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, or cannot be decoded,
            which also Pillow's errors inside the block mean.
    """
    limit = Image.MAX_IMAGE_PIXELS
    try:
        with Image.open(BytesIO(data)) as image:
            if limit is not None and image.width * image.height > limit:
                raise UnreadableImageError(
                    TOO_BIG, f"{image.width} x {image.height} pixels exceed the limit of {limit}"
                )
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(TOO_BIG, str(error)) from error
    except (OSError, SyntaxError, ValueError, EOFError, StructError) as error:
        raise UnreadableImageError(BAD_ASSET, f"the picture cannot be decoded: {error}") from error


def _on_background(image: Image.Image, background: str) -> Image.Image:
    """Return an RGB picture; `background` is `#rrggbb`."""
    assert re.fullmatch("#[0-9a-fA-F]{6}", background), background
    if not image.has_transparency_data:
        return image.convert("RGB")
    canvas = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(canvas, image.convert("RGBA")).convert("RGB")


def _input_or_rejection(
    view: View, captioner: Captioner, prompt_template: str
) -> tuple[View, Input | Rejected]:
    try:
        prompt = category_prompt(prompt_template, view.object.category)
        image = decode_image(view.image, view.background)
    except UnreadableImageError as error:
        return view, Rejected(view.object.uid, STAGE, error.reason, str(error), view.view_index)
    except ValueError as error:  # a category without a word
        return view, Rejected(view.object.uid, STAGE, ERROR, str(error), view.view_index)
    return view, (captioner.prepare(image), prompt)


def _caption_all(captioner: Captioner, inputs: Sequence[Input]) -> Sequence[str | NoCaption]:
    """Caption what is left of a batch; nothing left costs no call."""
    if not inputs:
        return []
    captions = captioner.caption([picture for picture, _ in inputs], [prompt for _, prompt in inputs])
    assert len(captions) == len(inputs), f"{len(captions)} captions for {len(inputs)} pictures"
    return captions


def _captioned_or_rejection(view: View, prompt: str, caption: str | NoCaption) -> CaptionedView | Rejected:
    if isinstance(caption, NoCaption):
        return Rejected(view.object.uid, STAGE, caption.reason, caption.message, view.view_index)
    if text := caption.strip():
        return CaptionedView(view, text, prompt)
    message = f"the captioner wrote nothing for {prompt!r}"
    return Rejected(view.object.uid, STAGE, EMPTY_CAPTION, message, view.view_index)
