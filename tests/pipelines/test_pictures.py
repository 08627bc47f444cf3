"""Pictures of every kind become what a dataset may store, or a reason."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, features

from captions.stage import decode_image
from mvcap.errors import BAD_ASSET, TOO_BIG
from mvcap.pictures import UnusableInputError
from pipelines.pictures import judge_stored, mask_of, storable_picture

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
    with pytest.raises(UnusableInputError, match="2 frames") as caught:
        storable_picture(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert caught.value.reason == BAD_ASSET


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits_are_refused(mode):
    with pytest.raises(UnusableInputError, match=f"mode {mode}"):
        storable_picture(encode(Image.new(mode, (2, 2)), "TIFF"))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_cut_off_and_empty_files_are_refused(kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    data = encode(noise, kind)
    for part in (data[: len(data) // 2], data[:10], b"", b"<html>not found</html>"):
        with pytest.raises(UnusableInputError, match="cannot be decoded") as caught:
            storable_picture(part)
        assert caught.value.reason == BAD_ASSET
        assert " at 0x" not in str(caught.value), "failures.parquet has the same bytes each time"


def test_a_tiff_whose_second_page_has_no_size_is_refused():
    first = Image.new("RGB", (2, 2))
    data = bytearray(encode(first, "TIFF", save_all=True, append_images=[first]))
    (begin,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, begin)
    (second,) = struct.unpack_from("<I", data, begin + 2 + 12 * entries)
    width = data.index(struct.pack("<H", 256), second)
    struct.pack_into("<H", data, width, 255)
    with pytest.raises(UnusableInputError, match="cannot be decoded") as caught:
        storable_picture(bytes(data))
    assert caught.value.reason == BAD_ASSET


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_a_damaged_avif_is_refused():
    data = encode(Image.new("RGB", (16, 16), "red"), "AVIF")
    with pytest.raises(UnusableInputError, match="cannot be decoded"):
        storable_picture(data.replace(b"pitm", b"none"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bomb_is_too_big(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.raises(UnusableInputError, match="exceed") as caught:
        storable_picture(encode(Image.new("RGB", (10, 10))))
    assert caught.value.reason == TOO_BIG


def mask(image: Image.Image, size: tuple[int, int] = (6, 4)) -> np.ndarray:
    """A mask's levels as they are stored, for a picture of this size."""
    stored = mask_of(encode(image), storable_picture(encode(Image.new("RGB", size))))
    levels = np.asarray(Image.open(io.BytesIO(stored.png)))
    assert stored.coverage == pytest.approx(levels.mean() / 255)
    return levels


def test_masks_of_any_kind_become_grey_levels():
    half = np.zeros((4, 6), np.uint8)
    half[:, :3] = 1
    wanted = half * 255
    of_ones = Image.fromarray(half)
    of_levels = Image.fromarray(wanted)
    of_colours = Image.fromarray(np.stack([half * 128, half * 0, half * 0], axis=2))
    palette = Image.fromarray(half, "P")
    palette.putpalette([0, 0, 0, 200, 0, 0])
    cut_out = Image.fromarray(np.stack([wanted * 0, wanted * 0, wanted * 0, wanted], axis=2))
    for image in (of_ones, of_levels, of_colours, palette, cut_out, of_levels.convert("1")):
        np.testing.assert_array_equal(mask(image), wanted)


def test_a_mask_keeps_its_probabilities_and_takes_its_pictures_size():
    assert set(mask(Image.new("L", (3, 2), 77)).ravel()) == {77}
    assert mask(Image.new("L", (12, 8), 255)).shape == (4, 6)


@pytest.mark.parametrize("size", [(4, 6), (6, 9)])
def test_a_mask_of_another_shape_is_refused(size):
    with pytest.raises(UnusableInputError, match="its picture 6 x 4"):
        mask(Image.new("L", size, 255))


def test_a_render_is_judged_by_its_alpha_and_a_photograph_is_not():
    rgba = np.zeros((20, 20, 4), np.uint8)
    assert judge_stored(encode(Image.fromarray(rgba)))[0].flaw == "blank"
    rgba[5:15, 5:15] = (200, 60, 30, 255)
    verdict, foreground = judge_stored(encode(Image.fromarray(rgba)))
    assert (verdict.flaw, verdict.flags, foreground) == (None, (), pytest.approx(0.25))
    rgba[:, :10] = (200, 60, 30, 255)
    assert "clipped" in judge_stored(encode(Image.fromarray(rgba)))[0].flags
    assert judge_stored(encode(Image.new("RGB", (8, 8)))) == (None, None)
