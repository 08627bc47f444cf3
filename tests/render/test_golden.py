"""Pictures of two small scenes against stored ones: what a change of code, Blender or machine does to pixels.

Remake the stored ones after a change that is meant to be seen, and look at them before you commit:

    PYTHONPATH=. .venv/bin/python tests/render/test_golden.py
"""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from render.backends.blender import Options, create
from render.cameras import Viewpoint
from render.encoding import composite
from render.job import RenderJob
from render.similarity import structural_similarity
from render.stage import make_scene

GOLDEN = Path(__file__).with_name("golden")
VIEWPOINTS = (Viewpoint(35, 20), Viewpoint(200, 60))
PRESETS = ("fast", "physical")
WHITE = np.full(3, 255, np.uint8)

MEAN_DIFFERENCE = 0.5
LARGE_DIFFERENCE, LARGE_SHARE = 8, 0.01
LIKENESS = 0.99
"""The tolerance, of 255 levels: other CPUs differ in the last bits of their arithmetic, which moves single
pixels where a ray just hits or just misses. On one CPU model the pixels are equal, another test's concern."""


def still_life() -> trimesh.Scene:
    """Compose a checked box, a glossy ball, a glass pane and a cone with coloured vertices."""
    scene = trimesh.Scene()
    box = trimesh.creation.box((2, 1, 2))
    checks = Image.fromarray((np.indices((8, 8)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    box.visual = TextureVisuals(
        box.vertices[:, [0, 1]] / 2 + 0.5, material=PBRMaterial(baseColorTexture=checks, metallicFactor=0.0)
    )
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.6).apply_translation((0, 1.1, 0))
    ball.visual = TextureVisuals(
        material=PBRMaterial(baseColorFactor=(0.8, 0.1, 0.1, 1), roughnessFactor=0.2, metallicFactor=0.0)
    )
    pane = trimesh.creation.box((0.05, 1.5, 1.5)).apply_translation((1.4, 0.2, 0))
    pane.visual = TextureVisuals(
        material=PBRMaterial(baseColorFactor=(0.2, 0.5, 0.9, 0.4), alphaMode="BLEND")
    )
    cone = trimesh.creation.cone(0.5, 1.5).apply_translation((-1.6, -0.5, 0))
    cone.visual.vertex_colors = np.linspace([0, 255, 0, 255], [0, 0, 255, 255], len(cone.vertices)).astype(
        np.uint8
    )
    for name, mesh in {"box": box, "ball": ball, "pane": pane, "cone": cone}.items():
        scene.add_geometry(mesh, geom_name=name)
    return scene


def frame() -> trimesh.Scene:
    """Build a black cage of thin bars around a white core."""
    bars = [
        trimesh.creation.box(
            (2 if axis == 0 else 0.05, 2 if axis == 1 else 0.05, 2 if axis == 2 else 0.05)
        ).apply_translation(np.insert(corner, axis, 0.0))
        for axis in range(3)
        for corner in ((-1, -1), (-1, 1), (1, -1), (1, 1))
    ]
    cage = trimesh.util.concatenate(bars)
    cage.visual = TextureVisuals(
        material=PBRMaterial("black", baseColorFactor=(0, 0, 0, 1), metallicFactor=0.0)
    )
    core = trimesh.creation.capsule(height=0.6, radius=0.3)
    core.visual = TextureVisuals(
        material=PBRMaterial("white", baseColorFactor=(255, 255, 255, 255), metallicFactor=0.0)
    )
    return trimesh.Scene({"cage": cage, "core": core})


ASSETS = {"still_life": still_life, "frame": frame}


def render_all(preset: str, folder: Path) -> dict[str, np.ndarray]:
    """Render every view of every asset; each (96, 96, 4), by the name of its file."""
    scene = make_scene(
        resolution=96,
        lens_mm=35.0,
        sensor_mm=32.0,
        light="studio",
        preset=preset,
        samples=None,
        view_transform="Standard",
    )
    pictures = {}
    with create(Options(), interpreter=None) as renderer:
        for name, make in ASSETS.items():
            asset = folder / f"{name}.glb"
            asset.write_bytes(make().export(file_type="glb"))
            job = RenderJob(name, str(asset), None, VIEWPOINTS, 1.5, 0.04, scene)
            for index, picture in enumerate(renderer.render(job)):
                pictures[f"{name}-{preset}-{index}.png"] = picture.rgba
    return pictures


@pytest.mark.blender
@pytest.mark.timeout(180)
@pytest.mark.parametrize("preset", PRESETS)
def test_pictures_are_the_stored_ones_within_the_tolerance(preset, tmp_path):
    pictures = render_all(preset, tmp_path)
    assert set(pictures) == {path.name for path in GOLDEN.glob(f"*-{preset}-*.png")}
    for name, rgba in pictures.items():
        with Image.open(GOLDEN / name) as stored:
            expected = composite(np.asarray(stored), WHITE)
        made = composite(rgba, WHITE)
        difference = np.abs(made.astype(int) - expected.astype(int))
        assert difference.mean() <= MEAN_DIFFERENCE, name
        assert (difference > LARGE_DIFFERENCE).mean() <= LARGE_SHARE, name
        assert structural_similarity(made, expected) >= LIKENESS, name


def remake() -> None:
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for preset in PRESETS:
            for name, rgba in render_all(preset, Path(folder)).items():
                Image.fromarray(rgba).save(GOLDEN / name, optimize=True)


if __name__ == "__main__":
    remake()
