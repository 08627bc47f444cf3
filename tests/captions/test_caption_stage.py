from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from captions.backends import fake
from captions.prompts import category_prompt
from captions.stage import caption_views, decode_image
from mvcap.config import PAPER_PROMPT
from mvcap.errors import BAD_ASSET, EMPTY_CAPTION, TOO_BIG
from mvcap.pictures import UnusableInputError
from mvcap.records import CaptionedView, Rejected, View

GREY = "#808080"


class CountingCaptioner(fake.FakeCaptioner):
    """Remembers how many pictures each call brought."""

    def __init__(self, **options: object) -> None:
        super().__init__(fake.Options.model_validate(options))
        self.batches: list[int] = []

    def caption(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        self.batches.append(len(images))
        return super().caption(images, prompts)


def encode(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    image.save(buffer := BytesIO(), format=file_format, **options)
    return buffer.getvalue()


def caption_all(views: list[View], captioner: fake.FakeCaptioner, batch_size: int = 3):
    return list(caption_views(views, captioner, prompt_template=PAPER_PROMPT, batch_size=batch_size))


def test_one_record_per_view_in_order(make_view: Callable[..., View]):
    red, blue = Image.new("RGB", (8, 8), "#c82828"), Image.new("RGB", (8, 8), "#3250c8")
    views = [
        make_view(red, category="chair", index=0),
        make_view(b"not a picture", index=1),
        make_view(blue, category="ghost", index=2),
        make_view(blue, category="coffee_table", index=3),
    ]
    for batch_size in (1, 2, 64):
        records = caption_all(views, CountingCaptioner(empty_for=["ghost"]), batch_size)
        assert [record.key for record in records] == [view.key for view in views]
        first, unreadable, silent, last = records
        assert first == CaptionedView(
            views[0], "a red picture of a chair", category_prompt(PAPER_PROMPT, "chair")
        )
        assert isinstance(unreadable, Rejected)
        assert (unreadable.stage, unreadable.reason) == ("caption", BAD_ASSET)
        assert isinstance(silent, Rejected)
        assert (silent.stage, silent.reason) == ("caption", EMPTY_CAPTION)
        assert isinstance(last, CaptionedView)
        assert last.caption == "a blue picture of a coffee table"


def test_batches_are_full_but_the_last(make_view: Callable[..., View]):
    captioner = CountingCaptioner()
    assert len(caption_all([make_view(Image.new("RGB", (4, 4)), index=i) for i in range(8)], captioner)) == 8
    assert captioner.batches == [3, 3, 2]


def test_no_view_and_no_readable_view_cost_no_call(make_view: Callable[..., View]):
    captioner = CountingCaptioner()
    assert caption_all([], captioner) == []
    assert len(caption_all([make_view(b"", index=0)], captioner)) == 1
    assert captioner.batches == []


def test_transparent_picture_equals_the_one_composited_by_hand():
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], dtype=np.uint8)
    picture = decode_image(encode(Image.fromarray(rgba, "RGBA")), "#0a141e")
    # 51 / 255 = 0.2: 0.2 * (200, 100, 0) + 0.8 * (10, 20, 30)
    assert np.asarray(picture).tolist() == [[[200, 100, 0], [10, 20, 30], [48, 36, 24]]]


def test_caption_of_a_transparent_picture_equals_that_of_the_composited_one(
    make_view: Callable[..., View], captioner, make_picture: Callable[[int], Image.Image]
):
    picture = make_picture(3)
    transparent = picture.convert("RGBA")
    transparent.putalpha(picture.convert("L").point(lambda value: 255 if value else 0))
    composited = Image.alpha_composite(Image.new("RGBA", picture.size, GREY), transparent).convert("RGB")
    grey, black, whole = caption_all(
        [
            make_view(transparent, background=GREY),
            make_view(transparent, background="#000000"),
            make_view(composited, background="#000000"),
        ],
        captioner,
    )
    assert grey.caption == whole.caption
    assert grey.caption != black.caption, "the background must show in the caption of this picture"


def test_palette_transparency_and_grey_and_cmyk_pictures_become_rgb():
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([255, 0, 0])
    assert decode_image(encode(palette, transparency=0), GREY).getpixel((0, 0)) == (128, 128, 128)
    assert decode_image(encode(Image.new("L", (2, 2), 7)), GREY).getpixel((0, 0)) == (7, 7, 7)
    cmyk = decode_image(encode(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG"), GREY)
    assert cmyk.mode == "RGB"
    assert max(cmyk.getpixel((0, 0))) <= 2, "black ink is black"


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert decode_image(encode(Image.new("RGB", (8, 4)), "JPEG", exif=exif), GREY).size == (4, 8)


def test_sixteen_bit_picture_is_refused():
    with pytest.raises(UnusableInputError, match="mode I;16") as caught:
        decode_image(encode(Image.fromarray(np.full((2, 2), 40000, np.uint16))), GREY)
    assert caught.value.reason == BAD_ASSET


def test_truncated_picture_is_refused(make_picture: Callable[[int], Image.Image]):
    for data in (encode(make_picture(0))[:200], encode(make_picture(0), "JPEG")[:-300]):
        with pytest.raises(UnusableInputError, match="cannot be decoded"):
            decode_image(data, GREY)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [99, 40], ids=["Pillow warns", "Pillow refuses"])
def test_decompression_bomb_is_too_big(monkeypatch: pytest.MonkeyPatch, limit: int):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnusableInputError, match="exceed") as caught:
        decode_image(encode(Image.new("RGB", (10, 10))), GREY)
    assert caught.value.reason == TOO_BIG
