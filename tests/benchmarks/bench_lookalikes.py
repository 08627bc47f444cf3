"""Near-duplicates: what `mvcap.lookalikes.LIMIT` was calibrated on, and what the comparison costs.

    .venv/bin/pytest -s tests/benchmarks/bench_lookalikes.py

The first part renders the labelled models of Sweet Home 3D (BENCH_EVERY=1 of them, BENCH_PRESET=physical),
prints the nearest pairs, and draws them side by side for whoever wants to judge (BENCH_SHEET=pairs.png). The
second compares as many invented portraits as a large dataset has (BENCH_OBJECTS=100000).
"""

import os
import resource
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.lookalikes import LIMIT, PORTRAIT_SHAPE, first_lookalikes, portrait_distances
from mvcap.records import SelectedObject
from mvcap.sources import sh3f
from render.backends import blender
from render.backends.fake import box_of, draw_box
from render.encoding import composite
from render.job import RenderedView, RenderFailed, RenderJob
from render.portraits import INTRINSICS, VIEWPOINTS, make_portrait, portrait_cameras
from render.stage import make_scene

SHOWN = 40
WHITE = np.full(3, 255, np.uint8)


@pytest.mark.timeout(0)
def test_the_nearest_pairs_of_the_labelled_models():
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    listed = [item for item in sh3f.list_objects(sh3f.Options()) if isinstance(item, SelectedObject)]
    taken = portraits_of(listed[:: int(os.environ.get("BENCH_EVERY", "1"))])
    names = list(taken)
    portraits = {name: as_portrait(views) for name, views in taken.items()}
    pairs = sorted(
        (float(portrait_distances(portraits[one], portraits[other])[0]), one, other)
        for one, other in combinations(names, 2)
    )
    print(f"\n{len(names)} models; near-duplicates are nearer than {LIMIT}")
    for distance, one, other in pairs[:SHOWN]:
        print(f"{distance:6.2f}  {one}  {other}")
    if sheet := os.environ.get("BENCH_SHEET"):
        rows = [
            np.concatenate([strip(taken[one]), strip(taken[other])], 1) for _, one, other in pairs[:SHOWN]
        ]
        Image.fromarray(np.concatenate(rows)).save(Path(sheet))


def portraits_of(objects: list[SelectedObject]) -> dict[str, list[RenderedView]]:
    """Map names to the pictures that a portrait averages, taken as views, with the portrait itself."""
    scene = make_scene(
        **{"resolution": INTRINSICS.resolution, "lens_mm": 35.0, "sensor_mm": 32.0, "light": "studio"},
        **{"preset": os.environ.get("BENCH_PRESET", "physical"), "samples": None},
        view_transform="Standard",
    )
    taken = {}
    with blender.create(blender.Options(), interpreter=None) as renderer:
        for item in objects:
            record = item.record
            job = RenderJob(
                item.uid, record.asset, record.rotation, VIEWPOINTS, 1.5, 0.04, scene, portrait=True
            )
            try:
                taken[record.source_id] = renderer.render(job)
            except RenderFailed as failure:
                print(f"{record.source_id}: {failure}")
    return taken


def as_portrait(views: list[RenderedView]) -> np.ndarray:
    return np.frombuffer(views[0].portrait or b"", np.uint8).reshape(1, *PORTRAIT_SHAPE)


def strip(views: list[RenderedView]) -> np.ndarray:
    return np.concatenate([composite(view.rgba, WHITE) for view in views], axis=1)


def test_many_objects_are_compared_in_bounded_memory():
    count = int(os.environ.get("BENCH_OBJECTS", "100000"))
    portraits = crowd(count)
    before, begun = peak_mb(), time.process_time()
    first = first_lookalikes(portraits)
    seconds, memory = time.process_time() - begun, peak_mb() - before
    print(f"\n{count} objects: {seconds:.1f} CPU-s, {memory:.0f} MB beside {portraits.nbytes / 1e6:.0f} MB")
    assert (first[-count // 10 :] >= 0).all()


def crowd(count: int) -> np.ndarray:
    """Blend random pairs of 300 boxes; the last tenth repeats the first."""
    boxes = np.stack([box_portrait(f"box {index}") for index in range(300)]).astype(np.float32)
    rng = np.random.default_rng(0)
    portraits = np.empty((count, *PORTRAIT_SHAPE), dtype=np.uint8)
    for start in range(0, count, 5000):
        size = min(5000, count - start)
        one, other = rng.integers(0, len(boxes), (2, size))
        share = rng.uniform(size=(size, 1, 1, 1, 1)).astype(np.float32)
        portraits[start : start + size] = boxes[one] * share + boxes[other] * (1 - share)
    portraits[-(count // 10) :] = portraits[: count // 10]
    return portraits


def box_portrait(name: str) -> np.ndarray:
    half_size, colours = box_of(name)
    corners = half_size * np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    pictures = [draw_box(camera, half_size, colours)[0] for camera in portrait_cameras(corners)]
    return np.frombuffer(make_portrait(pictures), np.uint8).reshape(PORTRAIT_SHAPE)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
