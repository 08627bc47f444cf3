"""Frames of one filmed object, placed by a reconstruction: enough of them, and which are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mvcap.poses import make_camera, upright_frame
from mvcap.records import Camera
from mvcap.sampling import spread_by_direction, spread_by_time

Spread = Literal["direction", "time"]
"""Which frames are kept of more than are wanted: those farthest apart by viewing direction, or in time."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that a reconstruction has placed."""

    camera_to_world: NDArray[np.float64]
    """(4, 4) OpenGL, in the reconstruction's own frame."""
    width: int
    height: int
    fx: float
    """Pixels. Lens distortion, which most models have too, is left out: our cameras are pinholes."""
    fy: float
    cx: float
    cy: float

    @property
    def half_fov_tan(self) -> float:
        """Tangent of half the narrower field of view."""
        return min(self.width / (2 * self.fx), self.height / (2 * self.fy))


def cameras_of(frames: Mapping[str, Frame], points: NDArray[np.float64] | None = None) -> dict[str, Camera]:
    """Express the cameras of frames, in their order, in a frame like the dataset's.

    Args:
        points: (P, 3) of the scene; see `mvcap.poses.upright_frame`.
    """
    poses = np.stack([frame.camera_to_world for frame in frames.values()])  # (V, 4, 4)
    tangents = np.array([frame.half_fov_tan for frame in frames.values()])  # (V,)
    upright = upright_frame(poses, tangents, points)
    return {name: placed(frame, pose) for pose, (name, frame) in zip(upright, frames.items(), strict=True)}


def placed(frame: Frame, camera_to_world: NDArray[np.float64]) -> Camera:
    """Describe a frame's camera where it stands in the dataset's world, (4, 4) OpenGL."""
    return make_camera(
        camera_to_world,
        width=frame.width,
        height=frame.height,
        fx=frame.fx,
        fy=frame.fy,
        cx=frame.cx,
        cy=frame.cy,
    )


def kept(names: Sequence[str], cameras: Mapping[str, Camera], count: int | None, spread: Spread) -> list[str]:
    """Return the names of `count` of the frames, or of all of them, in their order."""
    if count is None:
        return list(names)
    if spread == "time":
        return [names[index] for index in spread_by_time(len(names), count)]
    return [names[index] for index in spread_by_direction(directions(cameras, names), count)]


def directions(cameras: Mapping[str, Camera], names: Sequence[str]) -> NDArray[np.float64]:
    """Return the (V, 3) unit vectors from the object to its cameras."""
    positions = np.array([cameras[name].camera_to_world for name in names]).reshape(-1, 4, 4)[:, :3, 3]
    lengths = np.maximum(np.linalg.norm(positions, axis=1, keepdims=True), 1e-12)
    unit: NDArray[np.float64] = positions / lengths
    return unit
