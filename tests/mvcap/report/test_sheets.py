"""A contact sheet shows every object of a shard, by elevation, under its category."""

import io

import numpy as np
import pytest
from PIL import Image

from mvcap.report.sheets import COLUMNS, LINE_PX, THUMBNAIL_PX, draw_sheet, thumbnail


def picture(colour: str, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (40, 40), colour).save(file, "PNG")
    return file.getvalue()


def row(colour: str, elevation: float | None, mode: str = "RGB") -> dict:
    image = {"bytes": picture(colour, mode)}
    return {"uid": "u", "category": "chair", "caption": None, "elevation_deg": elevation, "image": image}


def colour_at(sheet: Image.Image, line: int, column: int) -> tuple[int, ...]:
    top = line * (LINE_PX + THUMBNAIL_PX + 4) + LINE_PX
    return sheet.getpixel((column * (THUMBNAIL_PX + 2) + THUMBNAIL_PX // 2, top + THUMBNAIL_PX // 2))


def test_views_stand_in_the_order_of_their_elevation():
    sheet = draw_sheet([[row("#0000ff", 80.0), row("#ff0000", 10.0)], [row("#00ff00", None)]])
    assert colour_at(sheet, 0, 0) == (255, 0, 0)
    assert colour_at(sheet, 0, 1) == (0, 0, 255)
    assert colour_at(sheet, 1, 0) == (0, 255, 0)


def test_a_sheet_is_as_wide_as_its_views_or_titles_and_no_wider():
    few, many = (draw_sheet([[row("#ff0000", 1.0)] * count]) for count in (1, 30))
    assert THUMBNAIL_PX + 2 <= few.width < 3 * THUMBNAIL_PX, "the title, `chair: (no caption yet)   [u]`"
    assert many.width == COLUMNS * (THUMBNAIL_PX + 2)


def test_of_many_views_a_spread_is_shown():
    rows = [row(f"#{index:02x}0000", float(index)) for index in range(100)]
    shown = [colour_at(draw_sheet([rows]), 0, column)[0] for column in range(COLUMNS)]
    assert shown == sorted(shown)
    assert (shown[0], shown[-1] > 85) == (0, True)


def test_kept_alpha_is_shown_on_white():
    assert colour_at(draw_sheet([[row("#00000000", 1.0, "RGBA")]]), 0, 0) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("side_px", [96, 224, 300, 512])
def test_a_jpeg_is_shown_whole_whatever_its_size(side_px, mode):
    """One larger than its thumbnail is decoded smaller; that may not cut, shift or stretch it."""
    ramp = np.linspace(0, 255, side_px)
    stored = Image.fromarray(np.add.outer(ramp * 0.3, ramp * 0.7).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    stored.save(file, "JPEG", quality=95)
    wanted = stored.convert("RGB").resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    shown = thumbnail(file.getvalue(), THUMBNAIL_PX)
    assert (shown.mode, shown.size) == ("RGB", wanted.size)
    np.testing.assert_allclose(np.asarray(shown, float), np.asarray(wanted, float), atol=4)
