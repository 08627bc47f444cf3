"""Cameras of a reconstruction, in a frame of its own, are brought into one like the dataset's."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from mvcap.poses import (
    FRAMED_HALF_EXTENT,
    estimate_centre,
    estimate_up,
    from_opencv,
    from_world_to_camera,
    is_rigid,
    make_camera,
    upright_frame,
)
from render.cameras import Intrinsics, Viewpoint, project
from render.cameras import make_camera as rendered_camera

SCENES = runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "colmap_scene.py"))
ring, similar = SCENES["ring"], SCENES["similar"]
TANGENT = 0.4


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    matrix = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix))


def anywhere(poses: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return similar(poses, random_rotation(rng), rng.normal(size=3) * 5, float(rng.uniform(0.1, 9)))


def jittered(poses: np.ndarray, degrees: float, seed: int = 0) -> np.ndarray:
    """Turn each camera about its own axes by a few degrees, as hands do."""
    rng = np.random.default_rng(seed)
    shaken = poses.copy()
    for pose in shaken:
        x, y, z = np.radians(rng.normal(size=3) * degrees)
        turned, _ = np.linalg.qr(np.array([[1, -z, y], [z, 1, -x], [-y, x, 1]]))
        pose[:3, :3] = pose[:3, :3] @ (turned * np.sign(np.diag(turned)))
    return shaken


def angles(poses: np.ndarray) -> list[tuple[float, float]]:
    cameras = [make_camera(pose, width=64, height=64, fx=80, fy=80, cx=32, cy=32) for pose in poses]
    return [(camera.azimuth_deg, camera.elevation_deg) for camera in cameras]


@pytest.mark.parametrize("arc", [360, 180, 90, 40])
@pytest.mark.parametrize("seed", range(3))
def test_angles_are_recovered_from_any_frame_and_any_part_of_a_turn(arc, seed):
    poses = ring(24, arc_deg=arc, elevation_deg=25)
    found = upright_frame(anywhere(poses, seed), np.full(24, TANGENT))
    wanted = np.linspace(0, arc, 24, endpoint=arc < 360)
    for (azimuth, elevation), expected in zip(angles(found), wanted, strict=True):
        assert (azimuth - expected + 180) % 360 - 180 == pytest.approx(0, abs=0.5 if arc > 60 else 2)
        assert elevation == pytest.approx(25, abs=0.5 if arc > 60 else 2)


def test_the_result_does_not_depend_on_the_reconstructions_own_frame():
    poses = jittered(ring(20, arc_deg=200), 2)
    first = upright_frame(anywhere(poses, 1), np.full(20, TANGENT))
    second = upright_frame(anywhere(poses, 2), np.full(20, TANGENT))
    np.testing.assert_allclose(first, second, atol=1e-9)


def test_the_object_is_framed_as_a_rendered_one_is():
    found = upright_frame(anywhere(ring(12, distance=7.0), 4), np.full(12, TANGENT))
    distances = np.linalg.norm(found[:, :3, 3], axis=1)
    np.testing.assert_allclose(distances * TANGENT, FRAMED_HALF_EXTENT)
    camera = rendered_camera(
        Viewpoint(0, 0), 1.5, Intrinsics.from_lens(lens_mm=35, sensor_mm=32, resolution=64)
    )
    assert camera.distance * camera.width / (2 * camera.fx) == pytest.approx(FRAMED_HALF_EXTENT)


def test_shaking_hands_tilt_the_world_by_less_than_they_shake():
    poses = anywhere(jittered(ring(30), 4), 5)
    elevations = [elevation for _, elevation in angles(upright_frame(poses, np.full(30, TANGENT)))]
    assert np.abs(np.array(elevations) - 25).max() < 4


def test_a_camera_held_upright_does_not_turn_the_others():
    poses = ring(20)
    rolled = poses.copy()
    rolled[7, :3, :2] = np.stack([poses[7, :3, 1], -poses[7, :3, 0]], axis=1)
    np.testing.assert_allclose(estimate_up(rolled), [0, 0, 1], atol=1e-3)


def test_a_camera_that_looks_away_does_not_move_the_centre():
    poses = ring(20)
    poses[3, :3, :3] = poses[3, :3, :3] @ np.diag([-1.0, 1.0, -1.0])
    poses[3, :3, 3] += 5
    np.testing.assert_allclose(estimate_centre(poses), [0, 0, 0], atol=1e-6)


def test_where_all_axes_are_parallel_the_points_say_where_the_centre_is():
    poses = np.repeat(ring(1), 6, axis=0)
    poses[:, :3, 3] += np.linspace(-0.1, 0.1, 6)[:, None]
    points = np.random.default_rng(0).normal(size=(99, 3)) * 0.1 + [0.3, 0, 0]
    np.testing.assert_allclose(estimate_centre(poses, points), np.median(points, axis=0))
    assert np.isfinite(upright_frame(poses, np.full(6, TANGENT))).all()


def test_one_camera_straight_above_gives_finite_numbers():
    pose = np.eye(4)[None]
    pose[0, 2, 3] = 3
    assert np.isfinite(upright_frame(pose, np.array([TANGENT]))).all()


def test_an_opencv_camera_sees_what_the_opengl_one_sees():
    opengl = ring(1)[0]
    opencv = opengl.copy()
    opencv[:3, 1:3] *= -1  # y down, z forward
    np.testing.assert_allclose(from_opencv(opencv), opengl)
    point = np.array([0.2, -0.1, 0.3])
    x, y, z = (np.linalg.inv(opencv) @ [*point, 1])[:3]
    camera = make_camera(opengl, width=64, height=48, fx=80, fy=80, cx=32, cy=24)
    np.testing.assert_allclose(project(point[None], camera)[0], [32 + 80 * x / z, 24 + 80 * y / z])


def test_a_world_to_camera_matrix_is_inverted():
    pose = anywhere(ring(3), 0)[1]
    pose[:3, :3] /= np.cbrt(np.linalg.det(pose[:3, :3]))
    np.testing.assert_allclose(from_world_to_camera(np.linalg.inv(pose)[:3]), pose, atol=1e-9)


@pytest.mark.parametrize(
    "matrix", [np.diag([1.0, 1, -1, 1]), np.diag([2.0, 2, 2, 1]), np.full((4, 4), np.nan), np.zeros((4, 4))]
)
def test_mirrors_and_stretches_are_no_cameras(matrix):
    assert not is_rigid(matrix)
    assert is_rigid(np.eye(4))


def test_a_made_camera_says_the_angles_of_a_rendered_one():
    wanted = rendered_camera(
        Viewpoint(211.0, 37.0), 1.7, Intrinsics.from_lens(lens_mm=35, sensor_mm=32, resolution=64)
    )
    pose = np.array(wanted.camera_to_world).reshape(4, 4)
    made = make_camera(pose, width=64, height=64, fx=wanted.fx, fy=wanted.fy, cx=32, cy=32)
    assert (made.azimuth_deg, made.elevation_deg, made.distance) == pytest.approx((211, 37, 1.7))
    assert made.fov_deg == pytest.approx(wanted.fov_deg)
