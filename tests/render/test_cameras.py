"""Geometry that can be checked by hand, and laws that hold for every viewpoint."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from render.cameras import (
    Intrinsics,
    Viewpoint,
    fitted_camera,
    fitting_distance,
    hemisphere_viewpoints,
    look_at,
    look_at_rotation,
    make_camera,
    pixel_bounds,
    project,
)

LENS = Intrinsics.from_lens(lens_mm=35.0, sensor_mm=32.0, resolution=224)
FRONT = Viewpoint(azimuth_deg=270.0, elevation_deg=0.0)
ZENITH = Viewpoint(azimuth_deg=270.0, elevation_deg=90.0)
viewpoints = st.builds(Viewpoint, st.floats(0, 360, exclude_max=True), st.floats(-90, 90))
clouds = npst.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.floats(-0.5, 0.5))


def test_heights_of_viewpoints_are_uniform_which_is_uniform_by_area():
    drawn = hemisphere_viewpoints(20_000, np.random.default_rng(1))
    heights = np.sin(np.radians([viewpoint.elevation_deg for viewpoint in drawn]))
    azimuths_deg = np.array([viewpoint.azimuth_deg for viewpoint in drawn])
    # The ring between 0 and 30 degrees has half of a hemisphere's area; uniform angles would put a third.
    assert np.mean(heights < 0.5) == pytest.approx(0.5, abs=0.015)
    assert np.histogram(heights, 10, (0, 1))[0] == pytest.approx(np.full(10, 2000), rel=0.12)
    assert np.histogram(azimuths_deg, 10, (0, 360))[0] == pytest.approx(np.full(10, 2000), rel=0.12)


def test_more_views_begin_with_the_same_ones():
    few = hemisphere_viewpoints(3, np.random.default_rng(7))
    assert hemisphere_viewpoints(100, np.random.default_rng(7))[:3] == few


def test_no_views_are_no_viewpoints():
    assert hemisphere_viewpoints(0, np.random.default_rng(0)) == []


@given(viewpoints)
def test_the_camera_looks_at_the_origin_and_its_axes_are_a_rotation(viewpoint):
    matrix = look_at(viewpoint, 2.0)
    rotation = matrix[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(matrix[:3, 3] - 2.0 * rotation[:, 2], 0, atol=1e-12)  # forward is -Z


@given(viewpoints)
def test_the_horizon_is_level_and_up_is_up(viewpoint):
    right, up = look_at_rotation(viewpoint)[:, 0], look_at_rotation(viewpoint)[:, 1]
    assert right[2] == 0
    assert up[2] >= -1e-12


def test_a_camera_at_the_zenith_is_the_limit_of_those_around_it():
    near = look_at_rotation(Viewpoint(ZENITH.azimuth_deg, 90 - 1e-6))
    np.testing.assert_allclose(look_at_rotation(ZENITH), near, atol=1e-7)


def test_the_field_of_view_is_that_of_35_mm_on_32_mm():
    assert make_camera(FRONT, 1.5, LENS).fov_deg == pytest.approx(49.134, abs=1e-3)


def test_projection_equals_the_hand_computed_pixels():
    # From -Y at distance 2, right is +X and up is +Z; focal length 35 / 32 * 224 = 245 px.
    camera = make_camera(FRONT, 2.0, LENS)
    points = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0, 0.5], [0.5, -1, 0]])
    expected = [[112, 112], [112 + 61.25, 112], [112, 112 - 61.25], [112 + 122.5, 112]]
    np.testing.assert_allclose(project(points, camera), expected, atol=1e-9)


def test_a_point_behind_the_camera_has_no_pixel():
    assert np.isnan(project(np.array([[0.0, -3.0, 0.0]]), make_camera(FRONT, 2.0, LENS))).all()


def test_the_fitting_distance_of_one_point_is_the_hand_computed_one():
    # At x = 0.4, z_cam = 0.1: (d - 0.1) * (16 / 35) * 0.5 = 0.4, so d = 0.1 + 1.75.
    point = np.array([[0.4, -0.1, 0.0]])
    assert fitting_distance(point, look_at_rotation(FRONT), LENS, margin=0.5) == pytest.approx(1.85)


def test_no_points_need_no_distance():
    assert fitting_distance(np.empty((0, 3)), np.eye(3), LENS, margin=0.1) == 0


@given(clouds, viewpoints, st.floats(0, 0.4))
def test_every_vertex_is_in_frame_with_its_margin(points, viewpoint, margin):
    camera = fitted_camera(viewpoint, points, LENS, distance=0.6, margin=margin)
    pixels = project(points, camera)
    inside = (1 - margin) * LENS.resolution / 2 + 1e-6
    assert (np.abs(pixels - 112) <= inside).all()


@given(clouds, viewpoints)
def test_a_smaller_distance_would_cut_something_off(points, viewpoint):
    distance = fitting_distance(points, look_at_rotation(viewpoint), LENS, margin=0.1)
    if distance > 0.1:
        pixels = project(points, make_camera(viewpoint, distance * 0.99, LENS))
        assert np.isnan(pixels).any() or (np.abs(pixels - 112) > 0.9 * 112 - 1e-6).any()


def test_the_configured_distance_holds_where_everything_fits():
    assert fitted_camera(FRONT, np.zeros((1, 3)), LENS, distance=1.5, margin=0.1).distance == 1.5


def test_pixel_bounds_hold_the_points_and_the_padding():
    camera = make_camera(FRONT, 2.0, LENS)
    points = np.array([[0.5, 0, 0], [0, 0, 0.5]])  # at (173.25, 112) and (112, 50.75)
    assert pixel_bounds(points, camera, 0) == (112, 50, 174, 112)
    assert pixel_bounds(points, camera, 4) == (108, 46, 178, 116)


def test_pixel_bounds_stay_inside_the_picture_and_are_never_empty():
    camera = make_camera(FRONT, 2.0, LENS)
    assert pixel_bounds(np.array([[9.0, 0, 9.0]]), camera, 4) == (223, 0, 224, 1)
    assert pixel_bounds(np.empty((0, 3)), camera, 4) == (0, 0, 224, 224)
