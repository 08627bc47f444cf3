"""One Blender child renders 500 different models: its memory stays flat.

.venv/bin/pytest -s --timeout 0 tests/soak/soak_child_memory.py
"""

from contextlib import suppress

import numpy as np
import psutil
import pytest

from mvcap.records import SelectedObject
from mvcap.sources import sh3f
from render.backends import blender
from render.cameras import hemisphere_viewpoints
from render.job import RenderFailed, RenderJob
from render.stage import make_scene

OBJECTS = 500
SAMPLED = 50
WARM = 100
"""Objects until the caches of Blender itself are full."""
GROWTH_MB = 40


def test_the_memory_of_a_child_is_flat_over_five_hundred_objects(capsys):
    if not sh3f.default_library().exists():
        pytest.skip("the furniture is not here: python -m mvcap.sources.sh3f.fetch")
    listed = sh3f.list_objects(sh3f.Options(selection="labelled"))
    models = [item for item in listed if isinstance(item, SelectedObject)]
    scene = make_scene(
        **{"resolution": 112, "lens_mm": 35.0, "sensor_mm": 32.0, "light": "studio"},
        **{"preset": "fast", "samples": None, "view_transform": "Standard"},
    )
    viewpoints = tuple(hemisphere_viewpoints(2, np.random.default_rng(0)))
    resident_mb, pids = [], set()
    with blender.create(blender.Options(recycle_after=OBJECTS + 1), interpreter=None) as renderer:
        for number in range(OBJECTS):
            record = models[number % len(models)].record
            job = RenderJob(record.uid, record.asset, record.rotation, viewpoints, 1.5, 0.04, scene)
            with suppress(RenderFailed):  # a bad view or two; a crash starts a new child, which is seen below
                renderer.render(job)
            pids.add(renderer.supervisor.child_pid)
            if (number + 1) % SAMPLED == 0:
                child = psutil.Process(renderer.supervisor.child_pid)
                resident_mb.append(child.memory_info().rss / 1e6)
    with capsys.disabled():
        sizes = " ".join(f"{size:.0f}" for size in resident_mb)
        print(f"\nresident MB after every {SAMPLED} objects: {sizes}")
    assert len(pids) == 1
    settled = resident_mb[WARM // SAMPLED - 1]
    assert max(resident_mb[WARM // SAMPLED :]) < settled + GROWTH_MB
