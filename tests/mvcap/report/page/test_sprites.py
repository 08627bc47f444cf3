"""Small pictures stand in their cells, keep their proportions, and their sheets stay within a size."""

import io
from base64 import b64decode

import numpy as np
import pytest
from PIL import ExifTags, Image

from mvcap.report.page.sprites import CELLS, COLUMNS, Sheets, SpriteSheets, encode_within, fitted
from mvcap.report.sheets import thumbnail

SIDE = 32


def picture(colour: str, size: tuple[int, int] = (64, 64), mode: str = "RGB", kind: str = "PNG") -> bytes:
    Image.new(mode, size, colour).save(file := io.BytesIO(), kind)
    return file.getvalue()


def opened(sheets: Sheets, number: int) -> Image.Image:
    head, _, content = sheets.uris[number].partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(b64decode(content))).convert("RGB")


def middle_of(sheet: Image.Image, cell: int) -> tuple[int, ...]:
    return sheet.getpixel((cell % COLUMNS * SIDE + SIDE // 2, cell // COLUMNS * SIDE + SIDE // 2))


def test_each_picture_is_where_its_place_says():
    sprites = SpriteSheets(side_px=SIDE, cell_bytes=4000)
    shades = [12 * n for n in range(CELLS + 5)]
    places = [sprites.add(picture(f"#{shade % 256:02x}8000")) for shade in shades]
    sheets = sprites.finish()
    assert places == list(range(CELLS + 5))
    for place, shade in zip(places, shades, strict=True):
        sheet = opened(sheets, place // CELLS)
        assert middle_of(sheet, place % CELLS)[0] == pytest.approx(shade % 256, abs=12)
    assert opened(sheets, 0).size == (COLUMNS * SIDE, COLUMNS * SIDE)
    assert sheets.last_rows == 2
    assert opened(sheets, 1).size == (COLUMNS * SIDE, 2 * SIDE), (
        "the last sheet is cut off below its pictures"
    )


def test_no_pictures_are_no_sheets():
    assert SpriteSheets(side_px=SIDE, cell_bytes=4000).finish() == Sheets([], 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_proportions_are_kept_and_small_pictures_not_enlarged(kind):
    assert fitted(picture("red", (640, 320), kind=kind), SIDE).size == (SIDE, SIDE // 2)
    assert fitted(picture("red", (20, 10), kind=kind), SIDE).size == (20, 10)
    sprites = SpriteSheets(side_px=SIDE, cell_bytes=4000)
    sprites.add(picture("#000000", (64, 16)))
    sheet = opened(sprites.finish(), 0)
    assert min(sheet.getpixel((SIDE // 2, 2))) > 240, "white above a wide picture"
    assert max(sheet.getpixel((SIDE // 2, SIDE // 2))) < 16


@pytest.mark.parametrize(("colour", "mode"), [("#ff000000", "RGBA"), ("#00000000", "RGBA")])
def test_alpha_is_shown_on_white(colour, mode):
    assert fitted(picture(colour, mode=mode), SIDE).getpixel((3, 3)) == (255, 255, 255)


def test_quality_goes_down_until_a_sheet_fits():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    best, least = encode_within(noise, 10**6), encode_within(noise, 1)
    between = encode_within(noise, 8000)
    assert len(least) < len(between) <= 8000 < len(best)


def test_a_photograph_that_lies_on_its_side_is_drawn_upright():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo = Image.new("RGB", (64, 32), "white")
    photo.paste("black", (0, 0, 32, 32))
    photo.save(buffer := io.BytesIO(), "JPEG", exif=exif)
    drawn = fitted(buffer.getvalue(), 32)
    assert drawn.size == (16, 32)
    assert (drawn.getpixel((8, 4))[0] < 9, drawn.getpixel((8, 28))[0] > 246) == (True, True)
    square = thumbnail(buffer.getvalue(), 32)
    assert (square.getpixel((16, 4))[0] < 9, square.getpixel((16, 28))[0] > 246) == (True, True)
