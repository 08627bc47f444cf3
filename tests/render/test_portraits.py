"""Portraits: the same sides of every object, whatever the dataset's own cameras are."""

import numpy as np

from mvcap.lookalikes import PORTRAIT_SHAPE
from render.cameras import project
from render.portraits import INTRINSICS, make_portrait, portrait_cameras

CORNERS = np.array(np.meshgrid(*[[-0.5, 0.5]] * 3)).reshape(3, -1).T


def test_a_portrait_averages_cells_and_weighs_colours_by_alpha():
    picture = np.zeros((64, 64, 4), dtype=np.uint8)
    picture[:8, :8] = (200, 100, 50, 255)
    picture[:8, 8:12] = (200, 100, 50, 255)  # half of the next cell
    picture[8:16, :8] = (200, 100, 50, 51)  # a fifth opaque
    cells = np.frombuffer(make_portrait([picture] * 4), np.uint8).reshape(PORTRAIT_SHAPE)
    assert (cells == cells[0]).all()
    assert cells[0, 0, 0].tolist() == [200, 100, 50, 255]
    assert cells[0, 0, 1].tolist() == [100, 50, 25, 128]
    assert cells[0, 1, 0].tolist() == [40, 20, 10, 51]
    assert not cells[0, 2:].any()


def test_the_colour_of_what_is_transparent_does_not_count():
    picture = np.zeros((64, 64, 4), dtype=np.uint8)
    picture[..., :3] = 99
    assert not any(make_portrait([picture] * 4))


def test_portraits_look_from_four_sides_at_all_of_the_object():
    cameras = portrait_cameras(CORNERS)
    assert [camera.azimuth_deg for camera in cameras] == [45, 135, 225, 315]
    for camera in cameras:
        pixels = project(CORNERS, camera)
        assert (pixels > 0).all()
        assert (pixels < INTRINSICS.resolution).all()
