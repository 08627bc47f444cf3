"""A dozen captions under their pictures, drawn by the objects' uids."""

import io

from PIL import Image

from mvcap.report.samples import (
    COLUMNS,
    PICTURE_PX,
    SAMPLES,
    Sample,
    describe_samples,
    draw_objects,
    draw_samples,
)


def sample(colour: str, caption: str | None = "a chair") -> Sample:
    file = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(file, "PNG")
    return Sample("object-1", 7, caption, file.getvalue())


def test_a_dozen_objects_is_drawn_whatever_order_they_come_in():
    uids = [f"object-{index}" for index in range(100)]
    drawn = draw_objects(dict.fromkeys(uids))
    assert len(set(drawn)) == SAMPLES
    assert drawn == draw_objects(dict.fromkeys(reversed(uids)))
    assert drawn != uids[:SAMPLES]
    assert draw_objects(dict.fromkeys(uids[:3])) == uids[:3]


def test_each_line_names_object_view_and_caption():
    assert describe_samples([sample("red"), sample("red", None)]) == (
        "object-1  view   7  a chair\nobject-1  view   7  (no caption)"
    )


def test_pictures_stand_in_rows_with_their_captions_below():
    drawing = draw_samples([sample("#ff0000")] * COLUMNS + [sample("#0000ff")])
    assert drawing.getpixel((PICTURE_PX // 2, PICTURE_PX // 2)) == (255, 0, 0)
    second_row = drawing.height // 2
    assert drawing.getpixel((PICTURE_PX // 2, second_row + PICTURE_PX // 2)) == (0, 0, 255)
    below = drawing.crop((0, PICTURE_PX, PICTURE_PX, second_row))
    assert below.convert("L").getextrema()[0] < 128, "there is writing"
