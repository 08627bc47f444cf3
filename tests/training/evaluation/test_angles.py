"""Accuracy by viewing angle: the right cells, and a picture of them."""

import io

import numpy as np
from PIL import Image

from training.evaluation.angles import angle_table, draw


def table(*rows):
    right, azimuth, elevation = zip(*rows, strict=True)
    return angle_table(np.array(right), np.array(azimuth, np.float32), np.array(elevation, np.float32))


def test_pictures_are_counted_in_their_cells():
    found = table(
        (True, 0, 0),
        (False, 29.9, 14.9),
        (True, -1, 0),
        (True, 359, 89),
        (True, 30, 90),
        (False, 360, 0),
        (True, np.nan, 10),
        (True, 10, np.nan),
    )
    assert found.accuracy.shape == found.pictures.shape == (6, 12)
    assert found.pictures.sum() == 6
    assert (found.pictures[0, 0], found.accuracy[0, 0]) == (3, 1 / 3)
    assert (found.pictures[0, 11], found.accuracy[0, 11]) == (1, 1)
    assert found.pictures[5, 11] == found.pictures[5, 1] == 1
    assert np.isnan(found.accuracy[3, 3])
    assert found.to_json()["accuracy"][3][3] is None


def test_views_from_below_have_rows_of_their_own():
    found = table((True, 0, -20), (False, 0, 5))
    assert (found.lowest_deg, found.accuracy.shape) == (-30, (8, 12))
    assert (found.pictures[0, 0], found.pictures[2, 0]) == (1, 1)


def test_without_angles_there_is_no_table():
    assert table((True, np.nan, np.nan)) is None


def test_it_is_drawn():
    found = table(*[(index % 3 > 0, 7 * index, index % 90) for index in range(400)])
    image = Image.open(io.BytesIO(draw(found, "chairs")))
    assert min(image.size) > 300
    assert len(image.convert("RGB").getcolors(10**6)) > 50
