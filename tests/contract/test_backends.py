"""Every renderer and every captioner keeps the contract of its folder, from the moment its file exists."""

import importlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from captions.stage import caption_views
from mvcap import plugins
from mvcap.config import OPERATIONAL, producing_settings
from mvcap.records import CaptionedView, ObjectRecord, Rejected, SelectedObject, View
from render.stage import render_objects

BACKENDS = [
    (package, name) for package in ("render.backends", "captions.backends") for name in plugins.names(package)
]
SCENE = {
    **{"seed": 1, "views": 2, "resolution": 48, "preset": "physical", "samples": 1, "light": "studio"},
    **{
        "view_transform": "Standard",
        "device": "auto",
        "background": "#ffffff",
        "backgrounds": None,
        "lens_mm": 35.0,
        "sensor_mm": 32.0,
    },
    **{
        "law": "hemisphere",
        "elevation_deg": 30.0,
        "distance": 1.5,
        "distance_jitter": 0.0,
        "fov_jitter": 0.0,
    },
    **{"margin": 0.04, "image_format": "jpeg", "quality": 95, "keep_alpha": False, "max_bad_views": 0.5},
    **{"extras": ("mask", "depth", "normals")},
}
NEEDS_BLENDER = {"blender"}


@pytest.mark.parametrize(("package", "name"), BACKENDS)
def test_options_are_strict_frozen_and_complete_by_default(package, name):
    options = plugins.options_model(package, name)
    with pytest.raises(ValidationError):
        options(no_such_option=1)
    default = options()
    with pytest.raises(ValidationError):
        default.anything = 1
    assert set(producing_settings(default)) <= {
        key for key in options.model_fields if OPERATIONAL not in options.model_fields[key].metadata
    }


@pytest.mark.parametrize(("package", "name"), BACKENDS)
def test_modules_say_what_they_are(package, name):
    module = importlib.import_module(f"{package}.{name}")
    assert module.__doc__
    assert module.create.__doc__


def an_object(tmp_path: Path, uid: str = "folder-cube-00000000") -> SelectedObject:
    asset = tmp_path / "cube.obj"
    asset.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n")
    record = ObjectRecord(uid, "folder", "cube.obj", "cube", str(asset), None, None, None)
    return SelectedObject(record, "cube")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.blender] if name in NEEDS_BLENDER else [])
        for name in plugins.names("render.backends")
    ],
)
def test_a_renderer_gives_every_object_its_views_twice_alike(name, tmp_path):
    backend = plugins.load("render.backends", name)
    with backend.create(backend.Options(), interpreter=None) as renderer:
        first = list(render_objects([an_object(tmp_path)], renderer, **SCENE))
        again = list(render_objects([an_object(tmp_path)], renderer, **SCENE))
        assert all(isinstance(value, str) for value in renderer.versions().values())
    assert [view.key for view in first] == [("folder-cube-00000000", 0), ("folder-cube-00000000", 1)]
    assert [view.image for view in first] == [view.image for view in again]
    assert [view.extras for view in first] == [view.extras for view in again]
    assert all(view.extras.mask and view.extras.depth and view.extras.normals for view in first)
    assert all(0 < view.foreground_fraction < 1 and view.camera.elevation_deg >= 0 for view in first)


def some_views(tmp_path: Path) -> list[View]:
    views = []
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        item = an_object(tmp_path)
        views.append(View(item, index, file.getvalue(), "#ffffff", 64, 64, None, None))
    return views


@pytest.fixture
def caption_options(openai_server, build_llava, tmp_path) -> dict[str, dict[str, object]]:
    """Options with which captioners can be had on any machine."""
    return {
        "hf": {"model": str(build_llava(tmp_path / "llava")), "max_new_tokens": 3},
        "instructblip": {"model": "untrained", "max_new_tokens": 3},
        "openai": {"model": "test/vision-model", "base_url": openai_server.url},
    }


@pytest.mark.parametrize("name", plugins.names("captions.backends"))
def test_a_captioner_answers_every_view_once_and_tells_who_it_is(name, tmp_path, caption_options):
    backend = plugins.load("captions.backends", name)
    options = backend.Options(**caption_options.get(name, {}))
    backend.check(options)
    with backend.create(options) as captioner:
        outputs = [
            list(
                caption_views(
                    some_views(tmp_path),
                    captioner,
                    prompt_template="A photo of a {category}.",
                    batch_size=size,
                )
            )
            for size in (1, 3)
        ]
        identity = captioner.identity
    assert outputs[0] == outputs[1]
    assert [output.key[1] for output in outputs[0]] == [0, 1, 2]
    assert all(isinstance(output, CaptionedView | Rejected) for output in outputs[0])
    assert identity["backend"] == name
    assert identity["model"]
