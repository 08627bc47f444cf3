"""Render the objects through `render`, on all cores, and keep the pictures by what they were made of."""

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mvcap.files import sha256_of, staged
from mvcap.records import SelectedObject
from render.backends import blender
from render.cameras import Viewpoint
from render.image_checks import find_flaw
from render.job import RenderFailed, RenderJob
from render.stage import make_scene

RESOLUTION: Final = 64
SCENE: Final = make_scene(
    resolution=RESOLUTION,
    lens_mm=35.0,
    sensor_mm=32.0,
    light="studio",
    preset="fast",
    samples=None,
    view_transform="Standard",
    device="cpu",
)
DISTANCE: Final = 1.5
MARGIN: Final = 0.04


@dataclass(frozen=True, slots=True)
class Rendered:
    """One object's pictures."""

    rgba: NDArray[np.uint8]
    """(V, H, W, 4), one for each viewpoint."""
    good: NDArray[np.bool_]
    """(V,) whether there is something to see."""
    portrait: bytes


def make_job(item: SelectedObject, viewpoints: tuple[Viewpoint, ...]) -> RenderJob:
    record = item.record
    return RenderJob(
        record.uid, record.asset, record.rotation, viewpoints, DISTANCE, MARGIN, SCENE, portrait=True
    )


def render_all(jobs: Sequence[RenderJob], cache: Path, *, workers: int) -> Iterator[Rendered | RenderFailed]:
    """Yield each job's pictures, or its failure, in order; what `cache` holds already is not rendered."""
    local, renderers = threading.local(), []

    def work(job: RenderJob) -> Rendered | RenderFailed:
        path = cache / f"{content_key(job)}.npz"
        if path.exists():
            return load(path)
        if not hasattr(local, "renderer"):
            local.renderer = blender.create(blender.Options(), interpreter=None)
            renderers.append(local.renderer)
        try:
            views = local.renderer.render(job)
        except RenderFailed as failure:
            return failure
        rgba = np.stack([view.rgba for view in views])
        good = np.array([find_flaw(picture) is None for picture in rgba])
        rendered = Rendered(rgba, good, views[0].portrait or b"")
        save(path, rendered)
        return rendered

    try:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(work, jobs)
    finally:
        for renderer in renderers:
            renderer.close()


def content_key(job: RenderJob) -> str:
    """Name pictures by what decides them: the model's bytes, the cameras, the scene, and Blender."""
    decisive = (
        sha256_of(Path(job.asset)),
        job.rotation,
        job.viewpoints,
        job.distance,
        job.margin,
        job.scene,
        version("bpy"),
    )
    return hashlib.sha256(repr(decisive).encode()).hexdigest()[:32]


def save(path: Path, rendered: Rendered) -> None:
    with staged(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, rgba=rendered.rgba, good=rendered.good, portrait=np.frombuffer(rendered.portrait, np.uint8)
        )


def load(path: Path) -> Rendered:
    with np.load(path) as stored:
        return Rendered(stored["rgba"], stored["good"], stored["portrait"].tobytes())


def free_cores() -> int:
    return len(os.sched_getaffinity(0))
