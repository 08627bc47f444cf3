"""The rates that `mvcap plan` counts with: CPU-seconds and bytes of each stage, on this machine.

    .venv/bin/pytest -s tests/benchmarks/bench_stage_rates.py

Some of the demo's objects go through the real stages, with few views and with more, so that what an object
costs and what a view costs can be told apart. Starting Blender is left out: 200 objects share one start.
The figures are those of `pipelines/rates.py`.
"""

import os
import resource
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from captions.backends import instructblip
from captions.stage import caption_views
from mvcap.records import SelectedObject, View
from mvcap.sources import sh3f
from pipelines.pictures import storable_picture
from render.backends import blender
from render.stage import render_objects

EVERY = int(os.environ.get("BENCH_EVERY", "11"))
"""Of the demo's 66 objects."""
FEW, MORE = 2, 6
"""Views of each object."""
RESOLUTIONS = (224, 512)
PRESETS = os.environ.get("BENCH_PRESETS", "fast physical").split()


@pytest.fixture(scope="module")
def objects() -> list[SelectedObject]:
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    listed = sh3f.list_objects(sh3f.Options(selection="demo"))
    return [item for item in listed if isinstance(item, SelectedObject)][::EVERY]


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process and of all children that end meanwhile."""

    def now() -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + ended.ru_utime + ended.ru_stime

    begun = now()
    work()
    return now() - begun


def render(objects: list[SelectedObject], preset: str, resolution: int, views: int) -> list[View]:
    with blender.create(blender.Options(), interpreter=None) as renderer:
        rendered = render_objects(
            objects,
            renderer,
            **{"seed": 0, "views": views, "resolution": resolution, "preset": preset, "samples": None},
            **{"light": "studio", "view_transform": "Standard", "device": "cpu", "background": "#ffffff"},
            **{"backgrounds": None, "lens_mm": 35.0, "sensor_mm": 32.0, "law": "hemisphere"},
            **{"elevation_deg": 30.0, "distance": 1.5, "distance_jitter": 0.0, "fov_jitter": 0.0},
            **{"margin": 0.04, "image_format": "jpeg", "quality": 95, "keep_alpha": False},
            max_bad_views=1.0,
        )
        return [view for view in rendered if isinstance(view, View)]


@pytest.mark.timeout(0)
def test_rates_of_rendering(objects):
    start = cpu_seconds(start_blender)
    print(f"\n{len(objects)} objects; starting Blender: {start:.1f} CPU-s")
    for preset in PRESETS:
        for resolution in RESOLUTIONS:
            pictures: list[View] = []
            few = cpu_seconds(lambda: render(objects, preset, resolution, FEW))  # noqa: B023
            more = cpu_seconds(lambda: pictures.extend(render(objects, preset, resolution, MORE)))  # noqa: B023
            per_view = (more - few) / ((MORE - FEW) * len(objects))
            per_object = (few - start) / len(objects) - FEW * per_view
            size = np.mean([len(view.image) for view in pictures])
            figures = f"{per_object:.2f} CPU-s an object, {per_view:.3f} a view, {size:.0f} B"
            print(f"{preset:10} {resolution} px: {figures}")
    assert pictures


def start_blender() -> None:
    with blender.create(blender.Options(), interpreter=None) as renderer:
        renderer.versions()


@pytest.mark.timeout(0)
def test_rates_of_captions_and_of_pictures_as_they_are(objects):
    views = render(objects[:4], "fast", 224, 16)
    captioner = instructblip.create(instructblip.Options(model="tiny"))
    prompt = (
        "Write a short description for the image, noting that the main instance of the image is a {category}."
    )
    work = lambda: list(caption_views(views, captioner, prompt_template=prompt, batch_size=64, threads=1))  # noqa: E731
    work()
    print(f"\ntiny: {cpu_seconds(work) / len(views):.3f} CPU-s a view")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8)).resize(
        (1080, 1080)
    ).save(file := BytesIO(), "JPEG", quality=90)
    seconds = cpu_seconds(lambda: [storable_picture(file.getvalue()) for _ in range(20)]) / 20
    print(f"a picture of 1080 px as it is: {seconds:.3f} CPU-s")
    assert views
