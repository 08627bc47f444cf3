"""Geometry that can be checked by hand, and laws that hold for every viewpoint."""

import math
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mvcap.records import CameraLaw
from render.cameras import (
    Intrinsics,
    Viewpoint,
    angle_viewpoints,
    draw_viewpoints,
    fitted_camera,
    fitting_distance,
    hammersley_viewpoints,
    hemisphere_viewpoints,
    look_at,
    look_at_rotation,
    make_camera,
    pixel_bounds,
    project,
    radical_inverse,
    ring_viewpoints,
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


def draw(law: CameraLaw, count: int = 8, seed: int = 7, *, elevation_deg=30.0, **jitter):
    rng = np.random.default_rng(seed)
    return draw_viewpoints(law, count, rng, elevation_deg=elevation_deg, **{"distance_jitter": 0.0, **jitter})


def test_the_law_of_the_hemisphere_is_the_stream_of_old():
    assert draw("hemisphere", 5) == hemisphere_viewpoints(5, np.random.default_rng(7))


def test_the_law_of_angles_is_uniform_in_elevation():
    drawn = angle_viewpoints(20_000, np.random.default_rng(1))
    elevations_deg = [viewpoint.elevation_deg for viewpoint in drawn]
    azimuths_deg = [viewpoint.azimuth_deg for viewpoint in drawn]
    assert np.histogram(elevations_deg, 9, (0, 90))[0] == pytest.approx(np.full(9, 20_000 / 9), rel=0.12)
    assert np.histogram(azimuths_deg, 9, (0, 360))[0] == pytest.approx(np.full(9, 20_000 / 9), rel=0.12)
    assert angle_viewpoints(3, np.random.default_rng(1)) == drawn[:3]


def test_a_ring_goes_evenly_around_from_a_start_that_the_seed_decides():
    ring = ring_viewpoints(5, np.random.default_rng(7), 20.0)
    assert {viewpoint.elevation_deg for viewpoint in ring} == {20.0}
    azimuths_deg = np.array([viewpoint.azimuth_deg for viewpoint in ring])
    np.testing.assert_allclose(np.diff(azimuths_deg) % 360, 72)
    assert ((azimuths_deg >= 0) & (azimuths_deg < 360)).all()
    assert ring_viewpoints(5, np.random.default_rng(8), 20.0)[0] != ring[0]


def test_the_radical_inverse_mirrors_the_digits():
    assert [radical_inverse(index) for index in range(6)] == [0, 0.5, 0.25, 0.75, 0.125, 0.625]


@pytest.mark.parametrize("seed", range(5))
def test_a_hammersley_set_fills_every_box_of_the_same_area_alike(seed):
    drawn = hammersley_viewpoints(64, np.random.default_rng(seed))
    heights = np.sin(np.radians([viewpoint.elevation_deg for viewpoint in drawn]))
    azimuths_deg = [viewpoint.azimuth_deg for viewpoint in drawn]
    # 4 points are due in each of 16 boxes; of points drawn at random some box would hold 0 or 8.
    counts = np.histogram2d(heights, azimuths_deg, (4, 4), ((0, 1), (0, 360)))[0]
    assert ((counts >= 2) & (counts <= 6)).all()
    assert hammersley_viewpoints(64, np.random.default_rng(seed + 100)) != drawn


@pytest.mark.parametrize("law", get_args(CameraLaw))
def test_every_law_stays_on_the_upper_hemisphere_and_repeats_itself(law):
    for count in (0, 1, 37):
        drawn = draw(law, count)
        assert len(drawn) == count
        assert all(0 <= v.azimuth_deg < 360 and 0 <= v.elevation_deg <= 90 for v in drawn)
        assert draw(law, count) == drawn


@pytest.mark.parametrize("law", get_args(CameraLaw))
def test_jitter_leaves_the_directions_and_varies_the_distance_by_its_share(law):
    steady, varied = draw(law, 400), draw(law, 400, distance_jitter=0.2)
    assert {viewpoint.distance_factor for viewpoint in steady} == {1.0}
    assert [replace(viewpoint, distance_factor=1.0) for viewpoint in varied] == steady
    factors = [viewpoint.distance_factor for viewpoint in varied]
    assert 0.8 <= min(factors) < 0.81
    assert 1.19 < max(factors) <= 1.2
    assert draw(law, 400, distance_jitter=0.1)[0].distance_factor == pytest.approx((1 + factors[0]) / 2)


@pytest.mark.parametrize("law", get_args(CameraLaw))
def test_field_of_view_jitter_leaves_directions_and_distances_alone(law):
    steady, varied = draw(law, 400, distance_jitter=0.2), draw(law, 400, distance_jitter=0.2, fov_jitter=0.3)
    assert {viewpoint.fov_factor for viewpoint in steady} == {1.0}
    assert [replace(viewpoint, fov_factor=1.0) for viewpoint in varied] == steady
    factors = [viewpoint.fov_factor for viewpoint in varied]
    assert 0.7 <= min(factors) < 0.71
    assert 1.29 < max(factors) <= 1.3


def test_a_wider_field_of_view_spans_so_many_times_the_angle():
    narrow = Intrinsics.from_lens(lens_mm=50.0, sensor_mm=100.0, resolution=224)  # 90 degrees
    assert narrow.widened(1.2).tan_half_fov == pytest.approx(math.tan(math.radians(54)))
    assert narrow.widened(1.0) is narrow
    assert narrow.widened(9.0).tan_half_fov == pytest.approx(math.tan(math.radians(75)))


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


@given(clouds, viewpoints, st.floats(0, 0.4), st.floats(0.5, 1.5))
def test_every_vertex_is_in_frame_with_its_margin(points, viewpoint, margin, factor):
    viewpoint = replace(viewpoint, distance_factor=factor)
    camera = fitted_camera(viewpoint, points, LENS, distance=1.8, margin=margin)
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


def test_a_factor_scales_the_distance_and_moves_closer_only_as_far_as_the_object_fits():
    near, far = replace(FRONT, distance_factor=0.5), replace(FRONT, distance_factor=1.2)
    small, large = np.zeros((1, 3)), np.array([[0.4, -0.1, 0.0]])  # the large one fits from 1.85 on
    assert fitted_camera(near, small, LENS, distance=1.5, margin=0.5).distance == pytest.approx(0.75)
    assert fitted_camera(near, large, LENS, distance=1.5, margin=0.5).distance == pytest.approx(1.85)
    assert fitted_camera(far, large, LENS, distance=1.5, margin=0.5).distance == pytest.approx(1.2 * 1.85)


def test_pixel_bounds_hold_the_points_and_the_padding():
    camera = make_camera(FRONT, 2.0, LENS)
    points = np.array([[0.5, 0, 0], [0, 0, 0.5]])  # at (173.25, 112) and (112, 50.75)
    assert pixel_bounds(points, camera, 0) == (112, 50, 174, 112)
    assert pixel_bounds(points, camera, 4) == (108, 46, 178, 116)


def test_pixel_bounds_stay_inside_the_picture_and_are_never_empty():
    camera = make_camera(FRONT, 2.0, LENS)
    assert pixel_bounds(np.array([[9.0, 0, 9.0]]), camera, 4) == (223, 0, 224, 1)
    assert pixel_bounds(np.empty((0, 3)), camera, 4) == (0, 0, 224, 224)
