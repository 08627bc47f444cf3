"""Draw a box instead of the object: milliseconds per view, no asset and no Blender needed.

Every uid has its own box and colours, seen truly through each camera, so that everything behind the
renderer can be tried and tested for real: storage, captions, training, many workers, failures.
"""

import os
import signal
import time
from dataclasses import replace
from types import TracebackType
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mvcap.config import OPERATIONAL
from mvcap.errors import Reason
from mvcap.plan import stable_hash
from mvcap.records import Camera
from render.cameras import fitted_camera
from render.job import Passes, RenderedView, RenderFailed, RenderJob
from render.portraits import make_portrait, portrait_cameras

AXIS_BRIGHTNESS = np.array([[0.65, 0.80], [0.55, 0.70], [0.45, 1.00]])
"""Shade of the faces towards (-x, +x), (-y, +y) and (-z, +z): the light comes from above."""


class Options(BaseModel):
    """What goes wrong, and how slowly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fail: dict[str, Reason] = {}
    """Objects whose uid or asset path holds the key fail with the reason."""
    like: dict[str, str] = {}
    """Objects whose uid or asset path holds the key look like the object whose uid is the value."""
    kill: dict[str, Literal["SIGKILL", "SIGSEGV"]] = {}
    """Objects whose uid or asset path holds the key end the process that renders them by the signal."""
    version: Annotated[str, OPERATIONAL] = "1"
    """What it tells of itself, so that a dataset can meet two versions."""
    view_seconds: Annotated[float, Field(ge=0), OPERATIONAL] = 0.0
    """How long each picture is made to take."""


def create(options: Options, *, interpreter: str | None) -> "FakeRenderer":
    """Return a renderer; there is nothing to start, so the interpreter is not looked at."""
    return FakeRenderer(options)


class FakeRenderer:
    """A `render.job.Renderer` that draws boxes."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def render(self, job: RenderJob) -> list[RenderedView]:
        for part, name in self._options.kill.items():
            if part in job.uid or part in job.asset:
                os.kill(os.getpid(), signal.Signals[name])
        for part, reason in self._options.fail.items():
            if part in job.uid or part in job.asset:
                raise RenderFailed(
                    reason, f"options.fail asks for it: {part!r} is in {job.uid} or {job.asset}"
                )
        half_size, colours = box_of(self._model_of(job))
        corners = half_size * np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T  # (8, 3)
        pictures = []
        for viewpoint in job.viewpoints:
            camera = fitted_camera(
                viewpoint, corners, job.scene.intrinsics, distance=job.distance, margin=job.margin
            )
            rgba, passes = draw_box(camera, half_size, colours)
            pictures.append(RenderedView(camera, rgba, passes=passes if job.scene.passes else None))
            time.sleep(self._options.view_seconds)
        portrait = None
        if job.portrait:
            cameras = portrait_cameras(corners)
            portrait = make_portrait([draw_box(camera, half_size, colours)[0] for camera in cameras])
        return [replace(picture, portrait=portrait) for picture in pictures]

    def _model_of(self, job: RenderJob) -> str:
        """Tell whose box an object has: its own, unless `options.like` names another."""
        likes = self._options.like.items()
        return next((other for part, other in likes if part in job.uid or part in job.asset), job.uid)

    def versions(self) -> dict[str, str]:
        return {"fake": self._options.version}

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def box_of(uid: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Invent a box: its (3,) half extents, the largest 0.5, and (3, 3) RGB in [0, 1] for its axes."""
    rng = np.random.default_rng(stable_hash(uid))
    extents = rng.uniform(0.4, 1.0, size=3)
    return extents / extents.max() / 2, rng.uniform(0.2, 1.0, size=(3, 3))


def draw_box(
    camera: Camera, half_size: NDArray[np.float64], colours: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], Passes]:
    """Cast a ray through the centre of each pixel at a box around the origin; the picture is (H, W, 4)."""
    origin, directions = pixel_rays(camera)
    with np.errstate(divide="ignore"):
        inverse = 1 / directions  # (H, W, 3)
    near_faces = (-np.sign(directions) * half_size - origin) * inverse  # (H, W, 3) ray lengths
    far_faces = (np.sign(directions) * half_size - origin) * inverse  # (H, W, 3)
    axis = near_faces.argmax(axis=-1)  # (H, W): of the face through which the ray enters
    hit = near_faces.max(axis=-1) <= far_faces.min(axis=-1)  # (H, W)
    side = (np.take_along_axis(directions, axis[..., None], axis=-1)[..., 0] < 0).astype(int)  # (H, W)
    shaded = colours[axis] * AXIS_BRIGHTNESS[axis, side][..., None]  # (H, W, 3)
    rgba = np.zeros((camera.height, camera.width, 4), dtype=np.uint8)
    rgba[hit, :3] = np.rint(255 * shaded[hit])
    rgba[hit, 3] = 255
    depth = np.where(hit, near_faces.max(axis=-1), np.inf)  # a ray advances by 1 along the camera's axis
    normals = np.where(hit[..., None], np.eye(3)[axis] * np.where(side, 1.0, -1.0)[..., None], 0.0)
    return rgba, Passes(depth.astype(np.float32), normals.astype(np.float32))


def pixel_rays(camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the camera's position, (3,), and a world direction for each pixel, (H, W, 3)."""
    matrix = np.array(camera.camera_to_world).reshape(4, 4)
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx  # (W,)
    y = (camera.cy - np.arange(camera.height) - 0.5) / camera.fy  # (H,)
    grid = np.stack([*np.meshgrid(x, y), -np.ones((camera.height, camera.width))], axis=-1)  # (H, W, 3)
    return matrix[:3, 3], grid @ matrix[:3, :3].T
