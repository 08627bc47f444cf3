"""A contact sheet shows every object of a shard, by elevation, under its category."""

import io

from PIL import Image

from mvcap.report.sheets import COLUMNS, LINE_PX, THUMBNAIL_PX, draw_sheet


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


def test_of_many_views_a_spread_is_shown():
    rows = [row(f"#{index:02x}0000", float(index)) for index in range(100)]
    shown = [colour_at(draw_sheet([rows]), 0, column)[0] for column in range(COLUMNS)]
    assert shown == sorted(shown)
    assert (shown[0], shown[-1] > 85) == (0, True)


def test_kept_alpha_is_shown_on_white():
    assert colour_at(draw_sheet([[row("#00000000", 1.0, "RGBA")]]), 0, 0) == (255, 255, 255)
