"""Depth and normals as they are stored, by hand-computed values; and from Blender, by geometry."""

import io
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from PIL import Image

from mvcap.records import Camera
from render.backends.blender import Options, create
from render.cameras import Viewpoint
from render.job import Passes, RenderJob
from render.passes import encode_extras
from render.stage import make_scene

RGBA = np.zeros((2, 2, 4), dtype=np.uint8)
RGBA[0, 0, 3], RGBA[0, 1, 3] = 255, 80
DEPTH = np.array([[1.5, 2.5], [np.inf, 0.0]], dtype=np.float32)
NORMALS = np.array([[[0, 0, 1], [0.6, -0.8, 0]], [[0, 0, 0], [-1, 0, 0]]], dtype=np.float32)
PASSES = Passes(DEPTH, NORMALS)


def pixels(png: bytes | None) -> np.ndarray:
    assert png is not None
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture)


def test_depth_is_stored_in_steps_that_give_it_back():
    extras = encode_extras(("depth",), RGBA, PASSES, distance=1.5)
    assert extras.depth_scale == pytest.approx(2.5 / 65535)
    steps = pixels(extras.depth)
    assert (steps.dtype.itemsize * 8 >= 16, steps.max(), steps[1, 0]) == (True, 65535, 0)
    assert steps[0] * extras.depth_scale == pytest.approx([1.5, 2.5], abs=extras.depth_scale / 2)


def test_normals_are_stored_from_minus_one_to_one_and_black_is_nothing():
    extras = encode_extras(("normals",), RGBA, PASSES, distance=1.5)
    by_hand = [[[127.5, 127.5, 255], [204, 25.5, 127.5]], [[0, 0, 0], [0, 127.5, 127.5]]]
    np.testing.assert_allclose(pixels(extras.normals), by_hand, atol=0.6)


def test_the_mask_is_the_pictures_alpha_and_nothing_is_stored_unasked():
    extras = encode_extras(("mask",), RGBA, None, distance=1.5)
    assert pixels(extras.mask).tolist() == [[255, 80], [0, 0]]
    assert (extras.depth, extras.depth_scale, extras.normals) == (None, None, None)


def rays(camera: Camera, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the camera's place, (3,), and rays through pixel centres, (N, 3), of length 1 along its axis."""
    matrix = np.array(camera.camera_to_world).reshape(4, 4)
    y, x = np.nonzero(hit)
    seen = [(x + 0.5 - camera.cx) / camera.fx, (camera.cy - y - 0.5) / camera.fy, -np.ones(len(x))]
    return matrix[:3, 3], np.stack(seen, axis=-1) @ matrix[:3, :3].T


def ball_by_hand(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depths and normals of a ball of radius 1/2 at the origin."""
    squared, half = (directions**2).sum(-1), directions @ origin
    root = np.sqrt(np.maximum(half**2 - squared * (origin @ origin - 0.25), 0))
    depth = (-half - root) / squared
    return depth, 2 * (origin + directions * depth[:, None])


def cube_by_hand(origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Depths and normals of the unit cube at the origin."""
    entries = (-np.sign(directions) * 0.5 - origin) / directions
    face = entries.argmax(-1)
    return entries.max(-1), -np.sign(directions) * (np.arange(3) == face[:, None])


@pytest.fixture(scope="module", params=["physical", "fast"])
def scene(request):
    return make_scene(
        resolution=96,
        lens_mm=35.0,
        sensor_mm=32.0,
        light="studio",
        preset=request.param,
        samples=None,
        view_transform="Standard",
        passes=True,
    )


@pytest.mark.blender
@pytest.mark.timeout(120)
def test_blenders_depth_and_normals_are_those_of_geometry_and_leave_the_picture_alone(scene, tmp_path):
    shapes = {  # the ball is made of flat triangles, which shows most where it is seen edge-on
        "ball": (trimesh.creation.icosphere(subdivisions=5), ball_by_hand, 0.01),
        "cube": (trimesh.creation.box(), cube_by_hand, 0.0005),
    }
    viewpoints = (Viewpoint(30, 25), Viewpoint(200, 70))
    with (
        create(Options(bind_cores=False), interpreter=None) as renderer,
        create(Options(bind_cores=False), interpreter=None) as plain,
    ):
        for name, (mesh, by_hand, tolerance) in shapes.items():
            mesh.export(tmp_path / f"{name}.glb")
            asset = str(tmp_path / f"{name}.glb")
            job = RenderJob(name, asset, None, viewpoints, 2.0, 0.04, scene)
            pictures = renderer.render(job)
            for picture in pictures:
                hit = np.isfinite(picture.passes.depth)
                assert abs(int(hit.sum()) - (picture.rgba[..., 3] > 127).sum()) < 0.02 * hit.sum()
                depth, normals = by_hand(*rays(picture.camera, hit))
                np.testing.assert_allclose(picture.passes.depth[hit], depth, atol=tolerance)
                likeness = (picture.passes.normals[hit] * normals).sum(-1)
                assert np.quantile(likeness, 0.01) > 0.999  # on an edge either face is right
                assert not picture.passes.normals[~hit].any()
            without = plain.render(replace(job, scene=replace(scene, passes=False)))
            assert [picture.passes for picture in without] == [None, None]
            for with_passes, picture in zip(pictures, without, strict=True):
                np.testing.assert_array_equal(with_passes.rgba, picture.rgba)
