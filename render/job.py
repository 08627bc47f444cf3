"""The whole contract with a renderer: what is asked, what comes back, and how both cross a pipe.

A message is a 12-byte header (big-endian: 4 bytes length of the JSON, 8 bytes length of the payload), the
JSON, then the payload as raw bytes. The child writes `PREAMBLE` once before its first message, because a
Blender binary prints to the same pipe before it runs any script. The conversation:

    child   PREAMBLE {"kind": "hello", "versions"}                     it starts, bpy is imported
    parent  {"kind": "setup", ...}      child {"kind": "done", "device"}  once, before the first object
    parent  {"kind": "load", ...}       child {"kind": "loaded", ...}  payload: float32 (N, 3) vertices
    parent  {"kind": "view", ...}       child {"kind": "picture"}      payload: a PNG of the border's pixels
                                     or child {"kind": "linear", ...}  payload: float16 (h, w, 4) sub-pixels
    parent  {"kind": "passes", ...}     child {"kind": "passes"}       payload: an EXR of depth and normals
    at any request                      child {"kind": "failed", "message", "traceback"}

`render/blender_child/main.py` holds the other end, imports nothing of ours, and is kept in step by a test.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from mvcap.errors import MvcapError, Reason
from mvcap.records import AssetFacts, Camera
from render.cameras import Intrinsics, PixelRect, Viewpoint
from render.lights import LightRig
from render.presets import Effort, Sampling

PREAMBLE: Final = b"\x00mvcap-blender-child-1\n"
HEADER: Final = struct.Struct(">IQ")
Number = TypeVar("Number", bound=np.generic)
Message = dict[str, Any]
"""What JSON can hold; each kind's keys are written below, where it is made or read."""


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """What stays the same for every object that a child renders."""

    resolution: int
    """Width and height in pixels."""
    lens_mm: float
    sensor_mm: float
    light: LightRig
    sampling: Sampling
    view_transform: str
    """Blender's name of it: `Standard` is plain sRGB."""
    device: str = "auto"
    """`auto`, `cpu`, or a kind of GPU in small letters."""
    passes: bool = False
    """Whether depth and normals are wanted as well."""

    @property
    def intrinsics(self) -> Intrinsics:
        return Intrinsics.from_lens(
            lens_mm=self.lens_mm, sensor_mm=self.sensor_mm, resolution=self.resolution
        )


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One object and the viewpoints it is wanted from."""

    uid: str
    asset: str
    """Absolute path."""
    rotation: tuple[float, ...] | None
    """Row-major 3×3, applied after import in the world frame (+Z up), before normalisation."""
    viewpoints: tuple[Viewpoint, ...]
    distance: float
    """From the origin in object units; further away only where the object would not fit."""
    margin: float
    """Share of the half frame that stays free on each side, in [0, 1)."""
    scene: SceneSettings
    portrait: bool = False
    """Whether to make the object's portrait as well."""


@dataclass(frozen=True, slots=True)
class Passes:
    """What a view shows at the centre of each of its pixels."""

    depth: NDArray[np.float32]
    """(H, W) distance from the camera's plane along its axis, in object units; infinite where nothing is."""
    normals: NDArray[np.float32]
    """(H, W, 3) unit vectors in the world frame, towards the camera's side; zero where nothing is."""


@dataclass(frozen=True, slots=True)
class RenderedView:
    """One picture as the renderer made it, before background and encoding."""

    camera: Camera
    rgba: NDArray[np.uint8]
    """(H, W, 4) sRGB with straight alpha."""
    facts: AssetFacts | None = None
    """Of the object; None where nothing was imported."""
    passes: Passes | None = None
    """Where the scene asks for them."""
    portrait: bytes | None = None
    """Of the object, where the job asks for it: see `render.portraits.make_portrait`."""


def facts_from_message(message: Message) -> AssetFacts:
    """Read what the child found in an asset."""
    return AssetFacts(
        triangles=int(message["triangles"]),
        vertices=int(message["vertices"]),
        nonfinite_vertices=int(message["nonfinite_vertices"]),
        outlier_faces=int(message["outlier_faces"]),
        textures=int(message["textures"]),
        missing_textures=tuple(message["missing_textures"]),
        coloured=bool(message["coloured"]),
    )


class RenderFailed(MvcapError):
    """An object that could not be rendered, with everything its row in the failures needs."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        attempts: int = 1,
        signal: str | None = None,
        log_tail: str | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.attempts = attempts
        self.signal = signal
        self.log_tail = log_tail


class Renderer(Protocol):
    """Makes pictures of one object at a time; a context manager that ends its processes."""

    def render(self, job: RenderJob) -> list[RenderedView]:
        """Return one picture for each viewpoint, in order.

        What a renderer finds out about an object, such as the sampling it needs, it may take from the
        first viewpoint only: any other view is reproduced from that one and its own.

        Raises:
            RenderFailed: this object has no pictures; the renderer is ready for the next one.
        """

    def versions(self) -> dict[str, str]:
        """Name the software that decides the pixels, such as `{"blender": "4.5.15 LTS"}`."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def setup_message(scene: SceneSettings) -> Message:
    """Ask for a studio: camera, light, sampling. It stands before the first render and never changes."""
    return {"kind": "setup", **asdict(scene)}


def load_message(job: RenderJob) -> Message:
    """Ask for the object to be imported, cleaned, normalised and measured."""
    rotation = None if job.rotation is None else list(job.rotation)
    return {"kind": "load", "asset": job.asset, "rotation": rotation}


def view_message(camera: Camera, border: PixelRect, effort: Effort, sensor_mm: float) -> Message:
    """Ask for the pixels inside `border` of one picture, by so many rays."""
    return {"kind": "view", **shot_message(camera, border, sensor_mm), **asdict(effort)}


def passes_message(camera: Camera, border: PixelRect, sensor_mm: float) -> Message:
    """Ask for depth and normals of the pixels inside `border` of one picture."""
    return {"kind": "passes", **shot_message(camera, border, sensor_mm)}


def shot_message(camera: Camera, border: PixelRect, sensor_mm: float) -> Message:
    return {
        "camera_to_world": list(camera.camera_to_world),
        "lens_mm": camera.fx / camera.width * sensor_mm,
        "resolution": camera.width,
        "border": list(border),
    }


def encode_message(message: Mapping[str, Any], payload: bytes = b"") -> bytes:
    text = json.dumps(message).encode()
    return HEADER.pack(len(text), len(payload)) + text + payload


def decode_message(text: bytes) -> Message:
    message: Message = json.loads(text)
    return message


def paste(crop: NDArray[Number], border: PixelRect, resolution: int, nothing: float = 0) -> NDArray[Number]:
    """Put the pixels of a border, (h, w, ...), into a picture of nothing, (resolution, resolution, ...)."""
    x_min, y_min, x_max, y_max = border
    frame = np.full((resolution, resolution, *crop.shape[2:]), nothing, dtype=crop.dtype)
    frame[y_min:y_max, x_min:x_max] = crop
    return frame
