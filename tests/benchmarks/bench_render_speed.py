"""Our presets against the way of objaverse-rendering: CPU-seconds of whole processes, and likeness.

    make bench                                    # or, to choose:
    BENCH_VIEWS=100 BENCH_RESOLUTION=512 .venv/bin/pytest -s tests/benchmarks/bench_render_speed.py

For each object in turn: the baseline in a process of its own; each preset in a process of its own too, of
which one start and set-up is shared by `RECYCLED` objects in a real run and charged here by that share. All
are bound to one core. The likeness of a preset is that of its first views to 384 samples without a denoiser,
under the preset's own light and the same filter: SSIM (Gaussian, sigma 1.5) and PSNR on white.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mvcap.plan import stable_hash
from mvcap.records import SelectedObject
from mvcap.sources import sh3f
from render.backends import blender
from render.cameras import hemisphere_viewpoints
from render.encoding import composite
from render.job import RenderedView, RenderJob
from render.presets import PRESETS, Sampling
from render.stage import make_scene

OBJECTS = (
    *("thonet", "cactus", "VW-new-beetle", "beerGlass", "bonsai-tree", "bicycle", "caffe_final", "female01"),
    *("teddyBear", "rattanArmchair", "simple_sofa", "toyTrain"),
)
"""Smooth and spiny, textured and plain, glass, leaves, thin wire; 1k to 150k triangles."""
VIEWS = int(os.environ.get("BENCH_VIEWS", "24"))
RESOLUTION = int(os.environ.get("BENCH_RESOLUTION", "224"))
RECYCLED = 200
JUDGED_VIEWS = 2
REFERENCE_SAMPLES = 384
WHITE = np.full(3, 255, np.uint8)
BASELINE = Path(__file__).with_name("objaverse_way.py")


def chosen() -> list[SelectedObject]:
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    listed = [item for item in sh3f.list_objects(sh3f.Options()) if isinstance(item, SelectedObject)]
    by_name = {item.record.source_id.partition("#")[2]: item for item in listed}
    return [by_name[name] for name in OBJECTS]


def make_job(item: SelectedObject, sampling: Sampling, views: int) -> RenderJob:
    scene = make_scene(
        **{"resolution": RESOLUTION, "lens_mm": 35.0, "sensor_mm": 32.0, "light": "studio"},
        **{"preset": "physical", "samples": None, "view_transform": "Standard"},
    )
    rng = np.random.default_rng([0, stable_hash(item.uid)])
    viewpoints = tuple(hemisphere_viewpoints(VIEWS, rng))[:views]
    record = item.record
    return RenderJob(
        item.uid, record.asset, record.rotation, viewpoints, 1.5, 0.04, replace(scene, sampling=sampling)
    )


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process and of all children that end meanwhile."""

    def now() -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + ended.ru_utime + ended.ru_stime

    begun = now()
    work()
    return now() - begun


def render(job: RenderJob) -> list[RenderedView]:
    """Render with a child of its own, which has ended on return."""
    with blender.create(blender.Options(), interpreter=None) as renderer:
        return renderer.render(job)


def start_alone() -> None:
    with blender.create(blender.Options(), interpreter=None) as renderer:
        renderer.versions()


def baseline(job: RenderJob, poses: list[tuple[float, ...]], folder: Path) -> None:
    light = job.scene.light
    content = {
        **{"asset": job.asset, "resolution": RESOLUTION, "lens_mm": 35.0, "sensor_mm": 32.0, "poses": poses},
        **{"lamps": [asdict(lamp) for lamp in light.lamps], "ambient": light.ambient, "folder": str(folder)},
    }
    path = folder / "job.json"
    path.write_text(json.dumps(content))
    subprocess.run([sys.executable, str(BASELINE), str(path)], check=True, capture_output=True)


def likeness(pictures: list[RenderedView], truth: list[RenderedView]) -> tuple[float, float]:
    """Return the worst SSIM and PSNR of the judged views."""
    pairs = [
        (composite(a.rgba, WHITE), composite(b.rgba, WHITE)) for a, b in zip(pictures, truth, strict=False)
    ]
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = [structural_similarity(a, b, channel_axis=2, data_range=255, **gaussian) for a, b in pairs]
    return min(ssim), min(peak_signal_noise_ratio(b, a, data_range=255) for a, b in pairs)


def undenoised(sampling: Sampling) -> Sampling:
    return replace(sampling, samples=REFERENCE_SAMPLES, denoiser_quality=None, oversampling=(1,))


def measure(item: SelectedObject, sampling: Sampling, start_s: float) -> tuple[list[RenderedView], float]:
    """Render an object and return its views and what they cost, with their share of a child's start."""
    pictures: list[RenderedView] = []
    spent = cpu_seconds(lambda: pictures.extend(render(make_job(item, sampling, VIEWS))))
    return pictures, spent - start_s * (1 - 1 / RECYCLED)


def test_presets_against_the_way_of_objaverse_rendering(tmp_path, capsys):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    presets = {name: PRESETS[name] for name in ("physical", "fast")}
    start = cpu_seconds(start_alone)
    totals = dict.fromkeys(("baseline", *presets), 0.0)
    ratios: dict[str, list[float]] = {name: [] for name in presets}
    with capsys.disabled():
        print(f"\n{VIEWS} views at {RESOLUTION} px: CPU-ms for each view, ratio, worst SSIM and PSNR")
        for item in chosen():
            made = {name: measure(item, sampling, start) for name, sampling in presets.items()}
            poses = [picture.camera.camera_to_world for picture in made["physical"][0]]
            job = make_job(item, presets["physical"], VIEWS)
            theirs = cpu_seconds(partial(baseline, job, poses, tmp_path))
            totals["baseline"] += theirs
            line = f"{item.record.source_id.partition('#')[2]:15} baseline {theirs / VIEWS * 1000:5.0f}"
            for name, (pictures, spent) in made.items():
                truth = render(make_job(item, undenoised(presets[name]), JUDGED_VIEWS))
                ssim, psnr = likeness(pictures, truth)
                ratios[name].append(theirs / spent)
                totals[name] += spent
                line += (
                    f" | {name} {spent / VIEWS * 1000:4.0f} {theirs / spent:5.1f}x {ssim:.4f} {psnr:4.1f} dB"
                )
                assert ssim > 0.8, f"{name} of {item.uid} is not the picture it should be"
            print(line, flush=True)
        for name, ratio in ratios.items():
            spread = f"{min(ratio):.1f} to {max(ratio):.1f}"
            print(
                f"{name}: {totals['baseline'] / totals[name]:.1f} x the baseline in all, {spread} by object"
            )
