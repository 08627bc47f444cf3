"""Caption views: `View` in, `CaptionedView` or `Rejected` out."""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from io import BytesIO
from itertools import islice

from PIL import Image, ImageOps, UnidentifiedImageError

from captions.ahead import map_ahead
from captions.captioner import Captioner
from captions.prompts import category_prompt
from captions.vocabulary import Vocabulary
from captions.writing import STAGE, Task, write_captions
from mvcap.errors import BAD_ASSET, ERROR, TOO_BIG
from mvcap.pictures import UNDECODABLE, UnusableInputError
from mvcap.records import CaptionedView, Rejected, View


def caption_views(
    views: Iterable[View],
    captioner: Captioner,
    *,
    prompt_template: str,
    batch_size: int,
    threads: int = 1,
    vocabulary: Vocabulary | None = None,
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
        vocabulary: judges the captions, so that defective ones are written again; None judges nothing.
    """
    prepare = partial(_task_or_rejection, captioner=captioner, prompt_template=prompt_template)
    with closing(map_ahead(prepare, views, threads=threads, limit=batch_size)) as prepared:
        while batch := list(islice(prepared, batch_size)):
            tasks = [one for one in batch if isinstance(one, Task)]
            written = iter(write_captions(tasks, captioner, vocabulary))
            for one in batch:
                yield next(written) if isinstance(one, Task) else one


def decode_image(data: bytes, background: str) -> Image.Image:
    """Decode a stored JPEG or PNG to RGB, upright, on a background colour.

    Alpha is composited here because transformers' processors put it on white, whatever the dataset
    uses. The Exif orientation is applied because `datasets` applies it too when it reads the row.

    Raises:
        UnusableInputError: no picture, 16 bits or more per channel, or more pixels than
            `PIL.Image.MAX_IMAGE_PIXELS` (Pillow itself only warns up to twice that many).
    """
    with open_picture(data) as image:
        if image.mode.startswith(("I", "F")):  # Pillow would clip these to white instead of scaling them
            message = f"pictures of mode {image.mode} are not supported: store 8 bits"
            raise UnusableInputError(BAD_ASSET, message)
        return _on_background(ImageOps.exif_transpose(image), background)


@contextmanager
def open_picture(data: bytes) -> Iterator[Image.Image]:
    """Open a picture of a bearable size for what is done inside the block.

    Raises:
        UnusableInputError: it has more pixels than `PIL.Image.MAX_IMAGE_PIXELS`, or cannot be decoded,
            which also Pillow's errors inside the block mean.
    """
    limit = Image.MAX_IMAGE_PIXELS
    try:
        with Image.open(BytesIO(data)) as image:
            if limit is not None and image.width * image.height > limit:
                raise UnusableInputError(
                    TOO_BIG, f"{image.width} x {image.height} pixels exceed the limit of {limit}"
                )
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableInputError(TOO_BIG, str(error)) from error
    except UnidentifiedImageError as error:  # whose message is the address of a buffer: never the same
        raise UnusableInputError(BAD_ASSET, "the picture cannot be decoded: of no known format") from error
    except UNDECODABLE as error:
        raise UnusableInputError(BAD_ASSET, f"the picture cannot be decoded: {error}") from error


def _on_background(image: Image.Image, background: str) -> Image.Image:
    """Return an RGB picture; `background` is `#rrggbb`."""
    assert re.fullmatch("#[0-9a-fA-F]{6}", background), background
    if not image.has_transparency_data:
        return image.convert("RGB")
    canvas = Image.new("RGBA", image.size, background)
    return Image.alpha_composite(canvas, image.convert("RGBA")).convert("RGB")


def _task_or_rejection(view: View, captioner: Captioner, prompt_template: str) -> Task | Rejected:
    try:
        prompt = category_prompt(prompt_template, view.object.category)
        image = decode_image(view.image, view.background)
    except UnusableInputError as error:
        return Rejected(view.object.uid, STAGE, error.reason, str(error), view.view_index)
    except ValueError as error:  # a category without a word
        return Rejected(view.object.uid, STAGE, ERROR, str(error), view.view_index)
    return Task(view, captioner.prepare(image), prompt)
