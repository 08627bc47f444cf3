"""Two Blenders, each bound to a core of its own, against one: pictures by the clock, on an idle machine.

    .venv/bin/pytest -s tests/benchmarks/bench_render_scaling.py

Each child renders the same objects; the start of the children, which a real run shares among hundreds of
objects, is outside the measured time. The rounds of one and of two alternate.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from mvcap.plan import stable_hash
from mvcap.records import SelectedObject
from mvcap.sources import sh3f
from render.backends import blender
from render.cameras import hemisphere_viewpoints
from render.job import RenderJob
from render.stage import make_scene

OBJECTS = ("thonet", "teddyBear", "simple_sofa", "bicycle")
VIEWS = 24
ROUNDS = 3


def jobs() -> list[RenderJob]:
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    listed = [item for item in sh3f.list_objects(sh3f.Options()) if isinstance(item, SelectedObject)]
    by_name = {item.record.source_id.partition("#")[2]: item for item in listed}
    scene = make_scene(
        **{"resolution": 224, "lens_mm": 35.0, "sensor_mm": 32.0, "light": "studio"},
        **{"preset": "physical", "samples": None, "view_transform": "Standard"},
    )
    return [make_job(by_name[name], scene) for name in OBJECTS]


def make_job(item: SelectedObject, scene) -> RenderJob:
    viewpoints = hemisphere_viewpoints(VIEWS, np.random.default_rng([0, stable_hash(item.uid)]))
    record = item.record
    return RenderJob(item.uid, record.asset, record.rotation, tuple(viewpoints), 1.5, 0.04, scene)


def pictures_per_second(renderers: list[blender.BlenderRenderer], work: list[RenderJob]) -> float:
    """Let every renderer do all the work at the same time."""
    with ThreadPoolExecutor(len(renderers)) as pool:
        begun = time.perf_counter()
        done = list(pool.map(lambda renderer: sum(len(renderer.render(job)) for job in work), renderers))
        return sum(done) / (time.perf_counter() - begun)


@pytest.mark.timeout(0)
def test_two_bound_children_against_one(capsys):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only")
    work = jobs()
    with ExitStack() as stack, capsys.disabled():
        pair = [stack.enter_context(blender.create(blender.Options(), interpreter=None)) for _ in range(2)]
        pictures_per_second(pair, work[:1])  # both have started, each with its core
        ratios = []
        for _ in range(ROUNDS):
            one, two = pictures_per_second(pair[:1], work), pictures_per_second(pair, work)
            ratios.append(two / one)
            load = os.getloadavg()[0]
            print(
                f"\none {one:.2f}, two {two:.2f} views/s: {two / one:.2f} x (load average {load:.1f})", end=""
            )
        print(f"\ntwo bound children do {np.median(ratios):.2f} x the work of one (median of {ROUNDS})")
