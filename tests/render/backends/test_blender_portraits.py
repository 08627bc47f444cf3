"""Portraits that Blender takes: of the object alone, and without a trace in its views."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from mvcap.lookalikes import LIMIT, PORTRAIT_SHAPE, portrait_distances
from render.backends.blender import Options, create
from render.cameras import Viewpoint
from render.job import RenderJob
from render.stage import make_scene

pytestmark = [pytest.mark.blender, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def renderer():
    with create(Options(bind_cores=False), interpreter=None) as renderer:
        yield renderer


def job_of(asset: Path, *, preset: str = "physical", resolution: int = 96) -> RenderJob:
    scene = make_scene(
        resolution=resolution,
        lens_mm=35.0,
        sensor_mm=32.0,
        light="studio",
        preset=preset,
        samples=None,
        view_transform="Standard",
    )
    return RenderJob(asset.stem, str(asset), None, (Viewpoint(20, 40),), 1.5, 0.04, scene, portrait=True)


def portrait_of(renderer, job: RenderJob) -> np.ndarray:
    [picture] = renderer.render(job)
    return np.frombuffer(picture.portrait, np.uint8).reshape(1, *PORTRAIT_SHAPE)


def write_model(path: Path, *, height: float = 1.0, subdivisions: int = 3, colour=(0.8, 0.2, 0.1)) -> Path:
    """A coloured egg on a plate."""
    egg = trimesh.creation.icosphere(subdivisions=subdivisions).apply_scale((0.5, height, 0.5))
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=(*colour, 1.0), metallicFactor=0.0)
    egg.visual = trimesh.visual.TextureVisuals(material=material)
    scene = trimesh.Scene([egg, trimesh.creation.box((2, 0.1, 2))])
    path.write_bytes(scene.export(file_type="glb"))
    return path


@pytest.mark.parametrize("preset", ["physical", "fast"])
def test_a_portrait_finds_a_finer_mesh_alike_and_other_shapes_and_colours_different(
    renderer, tmp_path, preset
):
    egg = portrait_of(renderer, job_of(write_model(tmp_path / "egg.glb"), preset=preset))
    others = {
        "finer": write_model(tmp_path / "finer.glb", subdivisions=4),
        "taller": write_model(tmp_path / "taller.glb", height=1.3),
        "green": write_model(tmp_path / "green.glb", colour=(0.1, 0.8, 0.2)),
    }
    found = {
        name: float(portrait_distances(egg, portrait_of(renderer, job_of(path, preset=preset)))[0])
        for name, path in others.items()
    }
    assert found["finer"] < LIMIT < 4 * LIMIT < min(found["taller"], found["green"])


def test_a_portrait_is_the_same_whatever_the_views_are_and_changes_none_of_them(renderer, tmp_path):
    job = job_of(write_model(tmp_path / "egg.glb"))
    [small] = renderer.render(job)
    [large] = renderer.render(job_of(Path(job.asset), resolution=160))
    more = renderer.render(replace(job, viewpoints=(Viewpoint(20, 40), Viewpoint(200, 10)), distance=2.5))
    assert small.portrait == large.portrait == more[0].portrait == more[1].portrait
    [without] = renderer.render(replace(job, portrait=False))
    assert without.portrait is None
    assert (without.rgba == small.rgba).all()
