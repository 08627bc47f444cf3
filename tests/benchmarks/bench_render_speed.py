"""Our presets against the way of objaverse-rendering: CPU-seconds of whole processes, and likeness.

    make bench                                    # or, to choose:
    export BENCH_VIEWS=100 BENCH_JUDGED=1 BENCH_RESOLUTION=512 BENCH_OBJECTS='thonet dense'
    .venv/bin/pytest -s tests/benchmarks/bench_render_speed.py

For each object in turn: the baseline in a process of its own; each preset in a process of its own too, of
which one start and set-up is shared by `RECYCLED` objects in a real run and charged here by that share. All
are bound to one core. The likeness of a way is that of its first views to 384 samples without a denoiser,
of its own, under its own light and filter: SSIM (Gaussian, sigma 1.5) and PSNR on white.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from mvcap.plan import stable_hash
from mvcap.records import SelectedObject
from mvcap.sources import sh3f
from render.backends import blender
from render.cameras import hemisphere_viewpoints
from render.encoding import composite
from render.job import RenderedView, RenderJob
from render.presets import PRESETS, Effort, Sampling
from render.stage import make_scene

OBJECTS = (
    *("thonet", "cactus", "VW-new-beetle", "beerGlass", "bonsai-tree", "bicycle", "caffe_final", "female01"),
    *("teddyBear", "rattanArmchair", "simple_sofa", "toyTrain"),
)
"""Smooth and spiny, textured and plain, glass, leaves, thin wire; 1k to 150k triangles. And `DENSE`."""
DENSE = "dense"
"""A bumpy ball of 1.3 million triangles, made here."""
VIEWS = int(os.environ.get("BENCH_VIEWS", "24"))
RESOLUTION = int(os.environ.get("BENCH_RESOLUTION", "224"))
RECYCLED = 200
JUDGED_VIEWS = int(os.environ.get("BENCH_JUDGED", "2"))
"""Of each object; the 384 samples of one cost more than all else: at 512 px two minutes."""
REFERENCE_SAMPLES = 384
WHITE = np.full(3, 255, np.uint8)
BASELINE = Path(__file__).with_name("objaverse_way.py")
BASELINE_SAMPLES = 32
MEASURED = {name: PRESETS[name] for name in ("physical", "fast")}
ONE_RAY = Sampling(efforts=(Effort(1),), denoiser_quality=None)
"""For where the cameras stand."""


def chosen(folder: Path) -> list[SelectedObject]:
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    listed = [item for item in sh3f.list_objects(sh3f.Options()) if isinstance(item, SelectedObject)]
    by_name = {item.record.source_id.partition("#")[2]: item for item in listed}
    wanted = os.environ.get("BENCH_OBJECTS", " ".join((*OBJECTS, DENSE))).split()
    if DENSE in wanted:
        by_name[DENSE] = write_dense(by_name[OBJECTS[0]], folder / "dense.obj")
    return [by_name[name] for name in wanted]


def write_dense(model: SelectedObject, path: Path) -> SelectedObject:
    ball = trimesh.creation.icosphere(subdivisions=8)
    bumps = np.sin(ball.vertices * 40).prod(axis=1, keepdims=True)  # (N, 1)
    ball.vertices *= 1 + 0.1 * bumps
    path.write_text(trimesh.exchange.obj.export_obj(ball, include_normals=False, digits=6))
    record = replace(model.record, uid=DENSE, source_id=f"#{DENSE}", asset=str(path), rotation=None)
    return replace(model, record=record)


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
    patient = blender.Options(step_timeout_s=1800)  # a reference view of 512 px takes minutes
    with blender.create(patient, interpreter=None) as renderer:
        return renderer.render(job)


def start_alone() -> None:
    with blender.create(blender.Options(), interpreter=None) as renderer:
        renderer.versions()


def baseline(
    job: RenderJob, poses: list[tuple[float, ...]], folder: Path, samples: int = BASELINE_SAMPLES
) -> None:
    """Render in the way of objaverse-rendering; with another number of samples, without a denoiser."""
    light = job.scene.light
    folder.mkdir()
    content = {
        **{"samples": samples, "denoised": samples == BASELINE_SAMPLES},
        **{"asset": job.asset, "resolution": RESOLUTION, "lens_mm": 35.0, "sensor_mm": 32.0, "poses": poses},
        **{"lamps": [asdict(lamp) for lamp in light.lamps], "ambient": light.ambient, "folder": str(folder)},
    }
    path = folder / "job.json"
    path.write_text(json.dumps(content))
    subprocess.run([sys.executable, str(BASELINE), str(path)], check=True, capture_output=True)


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA"))


@dataclass(frozen=True, slots=True)
class Likeness:
    """Structural similarity and peak signal-to-noise ratio in dB: of all pixels and of the foreground."""

    ssim: float
    psnr: float
    foreground_ssim: float
    foreground_psnr: float

    @classmethod
    def of(cls, rgba: NDArray[np.uint8], truth: NDArray[np.uint8]) -> "Likeness":
        """Compare two (H, W, 4) pictures on white."""
        picture, true = composite(rgba, WHITE).astype(float), composite(truth, WHITE).astype(float)
        gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        ssim, everywhere = structural_similarity(
            picture, true, channel_axis=2, data_range=255, full=True, **gaussian
        )
        error = (picture - true) ** 2  # (H, W, 3)
        seen = truth[..., 3] > 0  # (H, W)
        return cls(ssim, decibels(error), everywhere[seen].mean(), decibels(error[seen]))


def decibels(error: NDArray[np.float64]) -> float:
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-6)))


def likenesses(pictures: list[NDArray[np.uint8]], truth: list[NDArray[np.uint8]]) -> list[Likeness]:
    return [Likeness.of(rgba, true) for rgba, true in zip(pictures, truth, strict=False)]


def pictures_in(folder: Path) -> list[NDArray[np.uint8]]:
    return [read(path) for path in sorted(folder.glob("*.png"))]


def summary(judged: list[Likeness]) -> str:
    """Say the mean and the worst of each measure."""
    columns = zip(*map(astuple, judged), strict=True)
    words = []
    for name, values in zip(("SSIM", "PSNR", "foreground SSIM", "PSNR"), columns, strict=True):
        digits = 4 if "SSIM" in name else 1
        words.append(f"{name} {np.mean(values):.{digits}f} (worst {min(values):.{digits}f})")
    return ", ".join(words)


def undenoised(sampling: Sampling) -> Sampling:
    return replace(sampling, efforts=(Effort(REFERENCE_SAMPLES),), denoiser_quality=None)


def measure(item: SelectedObject, sampling: Sampling, start_s: float) -> tuple[list[RenderedView], float]:
    """Render an object and return its views and what they cost, with their share of a child's start."""
    pictures: list[RenderedView] = []
    spent = cpu_seconds(lambda: pictures.extend(render(make_job(item, sampling, VIEWS))))
    return pictures, spent - start_s * (1 - 1 / RECYCLED)


@pytest.mark.timeout(0)
def test_presets_against_the_way_of_objaverse_rendering(tmp_path, capsys):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ways = ("baseline", *MEASURED)
    start = cpu_seconds(start_alone)
    spent: dict[str, list[float]] = {way: [] for way in ways}
    judged: dict[str, list[Likeness]] = {way: [] for way in ways}
    with capsys.disabled():
        print(f"\n{VIEWS} views at {RESOLUTION} px: CPU-ms for each view, ratio, worst SSIM")
        for item in chosen(tmp_path):
            folder = tmp_path / item.uid
            poses = [picture.camera.camera_to_world for picture in render(make_job(item, ONE_RAY, VIEWS))]
            for name, sampling in MEASURED.items():
                pictures, seconds = measure(item, sampling, start)
                spent[name].append(seconds)
                best = render(make_job(item, undenoised(sampling), JUDGED_VIEWS))
                judged[name] += likenesses(
                    [picture.rgba for picture in pictures], [picture.rgba for picture in best]
                )
            job = make_job(item, PRESETS["reference"], VIEWS)
            spent["baseline"].append(cpu_seconds(partial(baseline, job, poses, folder)))
            truth = folder.with_name(f"{item.uid}-truth")
            baseline(job, poses[:JUDGED_VIEWS], truth, REFERENCE_SAMPLES)
            judged["baseline"] += likenesses(pictures_in(folder), pictures_in(truth))
            print(line(item, spent, judged), flush=True)
        for way in ways:
            print(f"{way}: {summary(judged[way])}")
        for way in MEASURED:
            print(f"{way}: {speed(spent['baseline'], spent[way])}")


def line(item: SelectedObject, spent: dict[str, list[float]], judged: dict[str, list[Likeness]]) -> str:
    """Lay out the last object's figures."""
    cells = [f"{item.record.source_id.partition('#')[2]:15}"]
    for way, seconds in spent.items():
        worst = min(likeness.ssim for likeness in judged[way][-JUDGED_VIEWS:])
        assert worst > 0.8, f"{way} of {item.uid} is not the picture it should be"
        ratio = spent["baseline"][-1] / seconds[-1]
        cells.append(f"{way} {seconds[-1] / VIEWS * 1000:5.0f} {ratio:5.1f}x {worst:.4f}")
    return " | ".join(cells)


def speed(theirs: list[float], ours: list[float]) -> str:
    ratios = np.array(theirs) / np.array(ours)
    rates = VIEWS * len(ours) / sum(ours), VIEWS * len(theirs) / sum(theirs)
    return (
        f"{ratios.mean():.1f} x the baseline in the mean of the objects (standard deviation "
        f"{ratios.std():.1f}, {ratios.min():.1f} to {ratios.max():.1f}), "
        f"{sum(theirs) / sum(ours):.1f} x in all; "
        f"{rates[0]:.2f} views per CPU-second, the baseline {rates[1]:.2f}"
    )
