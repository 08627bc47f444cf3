"""From other people's cameras to the dataset's: pure geometry. Frames and units as in `mvcap.records.Camera`.

    OpenGL     +X right, +Y up,   -Z forward     this dataset, Blender, NeRF
    OpenCV     +X right, +Y down, +Z forward     COLMAP
    PyTorch3D  +X left,  +Y up,   +Z forward     CO3D

A reconstruction from pictures alone knows neither up, nor where the object is, nor any unit of length.
`upright_frame` estimates all three from how people film an object: walking around it, camera level.
"""

from math import atan2, degrees, hypot
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mvcap.records import Camera

Floats = NDArray[np.float64]

FRAMED_HALF_EXTENT: Final = 1.5 * 32 / (2 * 35)
"""Half of what a camera of MVCap's renders (lens 35 mm on 32 mm, distance 1.5) sees at the object's centre,
in edges of the unit cube: 0.686. An object that fills its frames as a rendered one does fits the cube."""
MEAN_UP_WEIGHT: Final = 0.002
"""Of the mean up vector against the level right vectors: it decides only where these do not, as over an arc
of less than about 10 degrees, whose right vectors are nearly parallel."""
TRIM: Final = 3.0
"""Multiple of the median residual beyond which a camera is left out of an estimate."""
JUST_BELOW_A_TURN: Final = 360 - 2e-5
"""Rounding would store what is above as 360, which is 0."""
PARALLEL: Final = 1e-3
"""Smallest share of the axes' spread that still tells where they meet: an arc of about 6 degrees."""


def from_opencv(camera_to_world: Floats) -> Floats:
    """Turn (..., 4, 4) camera-to-world matrices of OpenCV cameras into those of OpenGL ones."""
    flipped: Floats = camera_to_world * np.array([1.0, -1.0, -1.0, 1.0])
    return flipped


def from_world_to_camera(world_to_camera: Floats) -> Floats:
    """Invert rigid (3, 4) or (4, 4) matrices to (4, 4)."""
    rotation, translation = world_to_camera[:3, :3], world_to_camera[:3, 3]
    inverse = np.eye(4)
    inverse[:3, :3] = rotation.T
    inverse[:3, 3] = -rotation.T @ translation
    return inverse


def is_rigid(matrix: Floats, tolerance: float = 1e-3) -> bool:
    """Tell whether the upper left 3 x 3 of a matrix is a rotation, and all of it finite."""
    rotation = matrix[:3, :3]
    return bool(
        np.isfinite(matrix).all()
        and np.allclose(rotation @ rotation.T, np.eye(3), atol=tolerance)
        and np.linalg.det(rotation) > 0
    )


def make_camera(
    camera_to_world: Floats, *, width: int, height: int, fx: float, fy: float, cx: float, cy: float
) -> Camera:
    """Describe an OpenGL camera, (4, 4) in the dataset's world, with the angles of where it stands."""
    x, y, z = map(float, camera_to_world[:3, 3])
    azimuth = degrees(atan2(y, x)) % 360
    return Camera(
        azimuth_deg=azimuth if azimuth < JUST_BELOW_A_TURN else 0.0,
        elevation_deg=degrees(atan2(z, hypot(x, y))),
        distance=hypot(x, y, z),
        camera_to_world=tuple(np.asarray(camera_to_world, dtype=float).ravel().tolist()),
        width=width,
        height=height,
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
    )


def upright_frame(camera_to_world: Floats, half_fov_tan: Floats, points: Floats | None = None) -> Floats:
    """Express OpenGL cameras of an arbitrary frame in one like the dataset's.

    What is estimated: up, from the cameras being level; the centre, where their axes meet; the scale, from
    how much of the frame an object usually fills. What is chosen: the first camera stands at azimuth 0.
    Hence the result does not depend on the frame that the cameras came in, whatever its scale.

    Args:
        camera_to_world: (V, 4, 4), V > 0; with rigid rotations.
        half_fov_tan: (V,) tangent of half the narrower field of view of each.
        points: (P, 3) of the scene, whose median stands for the centre where the axes are parallel.

    Returns:
        (V, 4, 4) OpenGL, in a world with +Z up, the object about as large as the unit cube at the origin.
    """
    up = estimate_up(camera_to_world)
    centre = estimate_centre(camera_to_world, points)
    distances = np.linalg.norm(camera_to_world[:, :3, 3] - centre, axis=1)  # (V,)
    seen = float(np.median(distances * half_fov_tan))
    rotation = _world_rotation(up, camera_to_world[0, :3, 3] - centre)
    moved = camera_to_world.copy()
    moved[:, :3, :3] = rotation @ camera_to_world[:, :3, :3]
    scale = FRAMED_HALF_EXTENT / seen if seen > 0 else 1.0
    moved[:, :3, 3] = scale * (camera_to_world[:, :3, 3] - centre) @ rotation.T
    return moved


def framed_scale(camera_to_world: Floats, half_fov_tan: Floats) -> Floats:
    """Scale (V, 4, 4) cameras about the origin, so that they frame as much there as those of our renders."""
    distances = np.linalg.norm(camera_to_world[:, :3, 3], axis=1)  # (V,)
    seen = float(np.median(distances * half_fov_tan))
    scaled = camera_to_world.copy()
    scaled[:, :3, 3] *= FRAMED_HALF_EXTENT / seen if seen > 0 else 1.0
    return scaled


def estimate_up(camera_to_world: Floats) -> Floats:
    """Estimate the unit vector up from (V, 4, 4) OpenGL cameras that were held level, or nearly so.

    A level camera's right vector is horizontal: up is what is most perpendicular to all of them, on the
    side of the cameras' own up. Cameras that were held at a slant are left out of a second estimate.
    """
    rights, ups = camera_to_world[:, :3, 0], camera_to_world[:, :3, 1]  # (V, 3), (V, 3)
    up = _most_perpendicular(rights, ups)
    slant = np.abs(rights @ up)  # (V,)
    level = slant <= TRIM * max(float(np.median(slant)), 1e-6)
    return _most_perpendicular(rights[level], ups[level])


def _most_perpendicular(rights: Floats, ups: Floats) -> Floats:
    mean_up = ups.mean(axis=0)
    spread = rights.T @ rights / len(rights) - MEAN_UP_WEIGHT * np.outer(mean_up, mean_up)  # (3, 3)
    up: Floats = np.linalg.eigh(spread)[1][:, 0]
    return up if up @ mean_up >= 0 else -up


def estimate_centre(camera_to_world: Floats, points: Floats | None = None) -> Floats:
    """Estimate where (V, 4, 4) OpenGL cameras look: the point closest to all their axes, (3,).

    Axes that miss it by far are left out of a second estimate. Where the axes are all but parallel, or the
    point lies behind most cameras, it is the median of the scene's points, or else one before the cameras.
    """
    origins, forward = camera_to_world[:, :3, 3], -camera_to_world[:, :3, 2]  # (V, 3), (V, 3)
    centre = _closest_to_lines(origins, forward)
    if centre is not None:
        offsets = centre - origins
        misses = np.linalg.norm(offsets - (offsets * forward).sum(1, keepdims=True) * forward, axis=1)  # (V,)
        near = misses <= TRIM * max(float(np.median(misses)), 1e-9)
        refined = _closest_to_lines(origins[near], forward[near])
        centre = centre if refined is None else refined
        if np.median(((centre - origins) * forward).sum(1)) > 0:
            return centre
    if points is not None and len(points):
        return np.asarray(np.median(points, axis=0), dtype=np.float64)
    return np.asarray((origins + forward).mean(axis=0))


def _closest_to_lines(origins: Floats, directions: Floats) -> Floats | None:
    """Return the least-squares point of (L, 3) lines with unit directions; None where they are parallel."""
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]  # (L, 3, 3) projectors
    normal = across.mean(axis=0)
    if np.linalg.eigvalsh(normal)[0] < PARALLEL:
        return None
    solved: Floats = np.linalg.solve(normal, np.einsum("lij,lj->i", across, origins) / len(origins))
    return solved


def _world_rotation(up: Floats, towards_first: Floats) -> Floats:
    """Return the (3, 3) rotation that brings `up` to +Z, and the first camera to azimuth 0."""
    level = towards_first - (towards_first @ up) * up
    if np.linalg.norm(level) < 1e-6 * max(float(np.linalg.norm(towards_first)), 1e-12):
        level = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])  # it is straight above: any azimuth will do
    x_axis = level / np.linalg.norm(level)
    return np.stack([x_axis, np.cross(up, x_axis), up])
