"""The boxes are seen truly through each camera."""

import numpy as np
import pytest

from mvcap.errors import CRASH
from render.backends.fake import Options, box_of, create
from render.cameras import hemisphere_viewpoints, project
from render.job import RenderFailed, RenderJob
from render.stage import make_scene

SCENE = make_scene(
    resolution=96,
    lens_mm=35.0,
    sensor_mm=32.0,
    light="studio",
    preset="physical",
    samples=None,
    view_transform="Standard",
)


def job(uid: str, views: int = 4) -> RenderJob:
    viewpoints = tuple(hemisphere_viewpoints(views, np.random.default_rng(3)))
    return RenderJob(uid, f"/nowhere/{uid}.glb", None, viewpoints, 1.5, 0.04, SCENE)


def test_the_silhouette_is_the_projected_box():
    half_size, _ = box_of("lamp")
    corners = half_size * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    with create(Options(), interpreter=None) as renderer:
        for picture in renderer.render(job("lamp", views=12)):
            y, x = np.nonzero(picture.rgba[..., 3])
            pixels = project(corners, picture.camera)
            assert [x.min(), y.min()] == pytest.approx(pixels.min(axis=0), abs=1)
            assert [x.max() + 1, y.max() + 1] == pytest.approx(pixels.max(axis=0), abs=1)


def test_a_uid_has_its_own_picture_always_the_same():
    renderer = create(Options(), interpreter=None)
    first, again, other = (renderer.render(job(uid))[0].rgba for uid in ("a", "a", "b"))
    assert (first == again).all()
    assert (first != other).any()


def test_it_fails_where_it_is_asked_to():
    renderer = create(Options(fail={"lamp": CRASH}), interpreter=None)
    assert len(renderer.render(job("chair"))) == 4
    with pytest.raises(RenderFailed) as failure:
        renderer.render(job("desk-lamp"))
    assert failure.value.reason == CRASH


def test_it_names_its_version():
    assert create(Options(), interpreter=None).versions() == {"fake": "1"}
