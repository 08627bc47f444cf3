"""Pictures of every kind become what a dataset may store, or a reason."""

import io

import numpy as np
import pytest
from PIL import Image

from captions.stage import UnreadableImageError, decode_image
from mvcap.errors import BAD_ASSET, TOO_BIG
from pipelines.pictures import storable_picture

GREY = "#808080"


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    image.save(buffer := io.BytesIO(), kind, **options)
    return buffer.getvalue()


def shown(data: bytes) -> list[int]:
    """The first pixel as the captioner sees it."""
    return list(decode_image(storable_picture(data).data, GREY).getpixel((0, 0)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_plain_pngs_are_stored_byte_for_byte(mode):
    data = encode(Image.new(mode, (6, 4)))
    stored = storable_picture(data)
    assert (stored.data, stored.width, stored.height) == (data, 6, 4)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_plain_jpegs_are_stored_byte_for_byte(mode):
    data = encode(Image.new(mode, (6, 4)), "JPEG")
    assert storable_picture(data).data == data


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_become_png_of_the_same_look(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(Image.new("RGB", (6, 4), (10, 20, 30)), kind, **options)
    assert storable_picture(data).data.startswith(b"\x89PNG")
    assert shown(data) == [10, 20, 30]


def test_transparency_is_kept_for_the_background_of_the_row():
    assert shown(encode(Image.new("RGBA", (2, 2), (255, 0, 0, 0)))) == [128, 128, 128]
    assert shown(encode(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), "WEBP", lossless=True)) == [128] * 3
    gif = Image.new("P", (2, 2), 0)
    assert shown(encode(gif, "GIF", transparency=0)) == [128, 128, 128]


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (128, 0), (129, 1), (40000, 156), (65535, 255)])
def test_sixteen_bits_of_grey_are_scaled_and_not_clipped(value, grey):
    # 8 bits are 16 divided by 257: 40000 / 257 = 155.6
    for kind in ("PNG", "TIFF"):
        assert shown(encode(Image.fromarray(np.full((2, 2), value, np.uint16)), kind)) == [grey] * 3


def test_cmyk_becomes_rgb():
    black, red = (Image.new("CMYK", (8, 8), ink) for ink in ((0, 0, 0, 255), (0, 255, 255, 0)))
    assert max(shown(encode(black, "JPEG"))) <= 2
    assert shown(encode(red, "TIFF")) == [255, 0, 0]


def test_picture_on_its_side_is_measured_and_converted_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = storable_picture(encode(Image.new("RGB", (8, 4)), "JPEG", exif=exif))
    assert (photo.width, photo.height) == (4, 8)
    scan = storable_picture(encode(Image.new("RGB", (8, 4)), "WEBP", exif=exif))
    assert (scan.width, scan.height) == Image.open(io.BytesIO(scan.data)).size == (4, 8)


def test_preview_behind_a_photograph_does_not_make_it_animated():
    preview = Image.new("RGB", (4, 4))
    data = encode(Image.new("RGB", (8, 8), "red"), "MPO", save_all=True, append_images=[preview])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert storable_picture(data).data == data


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animated_pictures_are_refused(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    with pytest.raises(UnreadableImageError, match="2 frames") as caught:
        storable_picture(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert caught.value.reason == BAD_ASSET


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits_are_refused(mode):
    with pytest.raises(UnreadableImageError, match=f"mode {mode}"):
        storable_picture(encode(Image.new(mode, (2, 2)), "TIFF"))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_cut_off_and_empty_files_are_refused(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, kind)
    for part in (data[: len(data) // 2], data[:10], b"", b"<html>not found</html>"):
        with pytest.raises(UnreadableImageError, match="cannot be decoded") as caught:
            storable_picture(part)
        assert caught.value.reason == BAD_ASSET


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_too_big(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(UnreadableImageError, match="exceed") as caught:
        storable_picture(encode(Image.new("RGB", (10, 10))))
    assert caught.value.reason == TOO_BIG
