"""Render with Blender's path tracer in a child process that may crash."""

import io
import logging
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from mvcap.config import OPERATIONAL
from mvcap.errors import BAD_ASSET, EMPTY_RENDER
from mvcap.records import AssetFacts, Camera
from render.asset_checks import Caps, find_problem
from render.cameras import Floats, PixelRect, Viewpoint, fitted_camera, pixel_bounds
from render.encoding import composite
from render.filtering import develop
from render.interpreter import find_interpreter
from render.job import (
    Message,
    Passes,
    RenderedView,
    RenderFailed,
    RenderJob,
    SceneSettings,
    facts_from_message,
    load_message,
    passes_message,
    paste,
    view_message,
)
from render.passes import read_passes
from render.portraits import make_portrait, portrait_cameras
from render.presets import Effort
from render.similarity import structural_similarity
from render.supervisor import Limits, Session, Supervisor

BORDER_PADDING_PX = 4
"""The filter reaches 1 px beyond the silhouette; the rest is context for the denoiser. Against whole frames,
at 224 px: 53 to 60 dB, alpha identical, 0.66 to 0.91 of the CPU time (three objects, measured 2026-11)."""
WHITE = np.full(3, 255, dtype=np.uint8)
USABLE_SIZE = (1e-12, 1e12)
"""Largest extents, in the asset's units, that the child can normalise in float32."""

logger = logging.getLogger(__name__)


class Options(BaseModel):
    """Limits of the child. None of them changes a pixel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: Annotated[int, Field(ge=1), OPERATIONAL] = 3
    """Tries for an object that crashes Blender."""
    start_timeout_s: Annotated[float, Field(gt=0), OPERATIONAL] = 120.0
    object_timeout_s: Annotated[float, Field(gt=0), OPERATIONAL] = 1800.0
    """For one object with all its views."""
    step_timeout_s: Annotated[float, Field(gt=0), OPERATIONAL] = 180.0
    """For one import or one view: what a hang costs."""
    max_memory_gb: Annotated[float, Field(gt=0), OPERATIONAL] = 8.0
    """Resident size of the child, in 10⁹ bytes."""
    recycle_after: Annotated[int, Field(ge=1), OPERATIONAL] = 200
    """Objects after which a child is replaced."""
    bind_cores: Annotated[bool, OPERATIONAL] = True
    """Give each child one CPU core of its own, while there are free ones."""
    max_asset_mb: Annotated[float, Field(gt=0), OPERATIONAL] = 500.0
    """File size, in 10⁶ bytes."""
    max_vertices: Annotated[int, Field(ge=1), OPERATIONAL] = 20_000_000
    max_texture_mpx: Annotated[float, Field(gt=0, le=178), OPERATIONAL] = 178.0
    """Of one picture, in 10⁶ pixels: 8192 × 16384 passes, and Pillow reads none above 178."""


def create(options: Options, *, interpreter: str | None) -> "BlenderRenderer":
    """Return a renderer; its child starts with the first object.

    Raises:
        RendererUnavailableError: there is no such interpreter, or this Python has no bpy.
    """
    return BlenderRenderer(options, find_interpreter(interpreter))


class BlenderRenderer:
    """A `render.job.Renderer`."""

    def __init__(self, options: Options, interpreter: str) -> None:
        self._caps = Caps(
            bytes=int(options.max_asset_mb * 1e6),
            vertices=options.max_vertices,
            texture_pixels=int(options.max_texture_mpx * 1e6),
        )
        limits = Limits(
            attempts=options.attempts,
            start_timeout_s=options.start_timeout_s,
            object_timeout_s=options.object_timeout_s,
            step_timeout_s=options.step_timeout_s,
            max_memory_bytes=int(options.max_memory_gb * 1e9),
            recycle_after=options.recycle_after,
        )
        self.supervisor = Supervisor(interpreter, limits, bind_core=options.bind_cores)

    def render(self, job: RenderJob) -> list[RenderedView]:
        if (problem := find_problem(job.asset, self._caps)) is not None:
            raise RenderFailed(problem.reason, problem.message)
        return self.supervisor.run(job.scene, lambda session: photograph(session, job))

    def versions(self) -> dict[str, str]:
        return self.supervisor.versions()

    def close(self) -> None:
        self.supervisor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def photograph(session: Session, job: RenderJob) -> list[RenderedView]:
    """Have the object imported, then place each camera by its true vertices and take the picture."""
    reply, payload = session.ask(load_message(job), f"importing {job.uid}")
    vertices = np.frombuffer(payload, dtype="<f4").reshape(-1, 3)  # (N, 3)
    refuse_unusable(reply, vertices)
    facts = facts_from_message(reply)
    report_facts(job.uid, facts)
    shots = [Shot.of(job, viewpoint, vertices) for viewpoint in job.viewpoints]
    effort = sufficient_effort(session, shots[0], job)
    portrait = take_portrait(session, vertices, job) if job.portrait else None
    return [
        replace(
            take_picture(session, shot, job.scene, effort, f"rendering view {index} of {job.uid}"),
            facts=facts,
            portrait=portrait,
            passes=take_passes(
                session, shot, job.scene, f"rendering the passes of view {index} of {job.uid}"
            ),
        )
        for index, shot in enumerate(shots)
    ]


def take_portrait(session: Session, vertices: Floats, job: RenderJob) -> bytes:
    """Have the object's portrait taken; whole frames, since they are small."""
    effort, step = job.scene.sampling.efforts[0], f"taking the portrait of {job.uid}"
    shots = [Shot(camera, (0, 0, camera.width, camera.height)) for camera in portrait_cameras(vertices)]
    return make_portrait([take_picture(session, shot, job.scene, effort, step).rgba for shot in shots])


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to take."""

    camera: Camera
    border: PixelRect

    @classmethod
    def of(cls, job: RenderJob, viewpoint: Viewpoint, vertices: Floats) -> "Shot":
        camera = fitted_camera(
            viewpoint, vertices, job.scene.intrinsics, distance=job.distance, margin=job.margin
        )
        return cls(camera, pixel_bounds(vertices, camera, BORDER_PADDING_PX))


def sufficient_effort(session: Session, shot: Shot, job: RenderJob) -> Effort:
    """Choose the effort that an object needs: the first whose picture is enough like that of the last.

    By the first viewpoint alone, so that any other view can be reproduced without its neighbours.
    """
    scene = job.scene
    *lesser, most = scene.sampling.efforts
    if not lesser:
        return most
    best = take_picture(session, shot, scene, most, f"trying {most} on {job.uid}")
    for effort in lesser:
        picture = take_picture(session, shot, scene, effort, f"trying {effort} on {job.uid}")
        if likeness(picture, best) >= scene.sampling.sufficient_likeness:
            return effort
    return most


def likeness(first: RenderedView, second: RenderedView) -> float:
    """Return the structural similarity of two pictures on white."""
    return structural_similarity(composite(first.rgba, WHITE), composite(second.rgba, WHITE))


def take_picture(
    session: Session, shot: Shot, scene: SceneSettings, effort: Effort, step: str
) -> RenderedView:
    reply, payload = session.ask(view_message(shot.camera, shot.border, effort, scene.sensor_mm), step)
    crop = developed(reply, payload, effort.oversampling, scene.sampling.filter_width_px)
    return RenderedView(shot.camera, paste(crop, shot.border, shot.camera.width))


def take_passes(session: Session, shot: Shot, scene: SceneSettings, step: str) -> Passes | None:
    """Render the depth and normals of a view, where its scene wants them."""
    if not scene.passes:
        return None
    _, exr = session.ask(passes_message(shot.camera, shot.border, scene.sensor_mm), step)
    crop = read_passes(exr)
    return Passes(
        depth=paste(crop.depth, shot.border, scene.resolution, nothing=np.inf),
        normals=paste(crop.normals, shot.border, scene.resolution),
    )


def developed(reply: Message, payload: bytes, oversampling: int, filter_width_px: float) -> NDArray[np.uint8]:
    """Return a border's pixels, (h, w, 4): decoded as they came, or filtered from linear sub-pixels."""
    if reply["kind"] == "picture":
        with Image.open(io.BytesIO(payload)) as picture:
            return np.asarray(picture)
    linear = np.frombuffer(payload, dtype="<f2").reshape(reply["height"], reply["width"], 4)
    return develop(linear, oversampling=oversampling, filter_width_px=filter_width_px)


def refuse_unusable(reply: Message, vertices: Floats) -> None:
    """Raise `RenderFailed` for an object that Blender imports and then shows nothing of."""
    size = float(reply["size"])
    if not len(vertices):
        raise RenderFailed(EMPTY_RENDER, "the file has no mesh with a finite face")
    if size == 0:
        raise RenderFailed(EMPTY_RENDER, "all vertices are at one point: the object has no size")
    if not USABLE_SIZE[0] <= size <= USABLE_SIZE[1]:
        raise RenderFailed(BAD_ASSET, f"the largest extent {size:g} is outside {list(USABLE_SIZE)}")


def report_facts(uid: str, facts: AssetFacts) -> None:
    named = {"uid": uid}
    if facts.missing_textures:
        logger.warning("%s: textures missing: %s", uid, ", ".join(facts.missing_textures), extra=named)
    if facts.nonfinite_vertices:
        logger.warning(
            "%s: %d vertices with NaN or infinite coordinates deleted",
            uid,
            facts.nonfinite_vertices,
            extra=named,
        )
    if facts.outlier_faces:
        logger.warning(
            "%s: %d faces wildly far from all others deleted", uid, facts.outlier_faces, extra=named
        )
