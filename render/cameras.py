"""Where the cameras stand and what they see: pure geometry.

Frames and units, everywhere in this room:

    world   right-handed, +Z up, the object in the unit cube at the origin
    camera  OpenGL: +X right, +Y up, -Z forward
    pixel   x to the right, y downwards; (0, 0) is the picture's upper left corner, so that the centre
            of the first pixel is (0.5, 0.5)

Azimuth 0 is +X and grows counter-clockwise towards +Y; elevation 90 is straight above.
"""

from dataclasses import dataclass, replace
from math import atan, cos, radians, sin, tan

import numpy as np
from numpy.typing import NDArray

from mvcap.records import Camera, CameraLaw

Floats = NDArray[np.float32] | NDArray[np.float64]
PixelRect = tuple[int, int, int, int]
"""x_min, y_min, x_max, y_max in whole pixels; the maxima are exclusive, y points down."""
WIDEST_FOV_DEG = 150.0
"""Beyond it a pinhole's picture is all stretched corners."""


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """From where an object is seen."""

    azimuth_deg: float
    elevation_deg: float
    distance_factor: float = 1.0
    """Of the camera's distance; below 1 as far as the object stays in frame."""
    fov_factor: float = 1.0
    """Of the angle that the picture's width spans."""


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A square picture with square pixels, its principal point in the middle."""

    resolution: int
    """Width and height in pixels."""
    focal_px: float

    @classmethod
    def from_lens(cls, *, lens_mm: float, sensor_mm: float, resolution: int) -> "Intrinsics":
        return cls(resolution=resolution, focal_px=lens_mm / sensor_mm * resolution)

    @property
    def tan_half_fov(self) -> float:
        return self.resolution / (2 * self.focal_px)

    def widened(self, factor: float) -> "Intrinsics":
        """Return the same with another field of view: `factor` times the angle, which stays below 180°."""
        if factor == 1.0:
            return self
        half_fov = min(factor * atan(self.tan_half_fov), radians(WIDEST_FOV_DEG / 2))
        return replace(self, focal_px=self.resolution / (2 * tan(half_fov)))


def draw_viewpoints(
    law: CameraLaw,
    count: int,
    rng: np.random.Generator,
    *,
    elevation_deg: float,
    distance_jitter: float,
    fov_jitter: float = 0.0,
) -> list[Viewpoint]:
    """Spread viewpoints over the upper hemisphere by one of the laws.

    Args:
        law: of `hemisphere` and `angle` the first n of many equal the n of few; `ring` and `hammersley`
            are even for their own count only.
        elevation_deg: of a `ring`, in [0, 90].
        distance_jitter: j in [0, 0.5] draws each distance factor from [1 - j, 1 + j], in a stream of its
            own: the directions do not depend on it.
        fov_jitter: the same for the field of view, in a third stream.
    """
    distances, fovs = rng.spawn(2)
    match law:
        case "hemisphere":
            viewpoints = hemisphere_viewpoints(count, rng)
        case "angle":
            viewpoints = angle_viewpoints(count, rng)
        case "ring":
            viewpoints = ring_viewpoints(count, rng, elevation_deg)
        case "hammersley":
            viewpoints = hammersley_viewpoints(count, rng)
    distance_factors = 1 + distance_jitter * distances.uniform(-1, 1, count)  # (count,)
    fov_factors = 1 + fov_jitter * fovs.uniform(-1, 1, count)  # (count,)
    return [
        replace(viewpoint, distance_factor=float(nearer), fov_factor=float(wider))
        for viewpoint, nearer, wider in zip(viewpoints, distance_factors, fov_factors, strict=True)
    ]


def hemisphere_viewpoints(count: int, rng: np.random.Generator) -> list[Viewpoint]:
    """Draw directions on the upper hemisphere, uniform by area.

    By Archimedes' theorem the height z = sin(elevation) is then uniform in [0, 1]. Each viewpoint takes
    two numbers from `rng`, so that the first n of many equal the n of few.
    """
    heights, turns = rng.random((count, 2)).T  # (count,), (count,)
    return make_viewpoints(turns, np.degrees(np.arcsin(heights)))


def angle_viewpoints(count: int, rng: np.random.Generator) -> list[Viewpoint]:
    """Draw directions uniform in azimuth and in elevation: dense around the zenith."""
    quarters, turns = rng.random((count, 2)).T  # (count,), (count,)
    return make_viewpoints(turns, 90 * quarters)


def ring_viewpoints(count: int, rng: np.random.Generator, elevation_deg: float) -> list[Viewpoint]:
    """Space directions evenly around the object at one elevation, from a random start."""
    turns = (np.arange(count) / max(count, 1) + rng.random()) % 1  # (count,)
    return make_viewpoints(turns, np.full(count, elevation_deg))


def hammersley_viewpoints(count: int, rng: np.random.Generator) -> list[Viewpoint]:
    """Spread directions by the Hammersley set, evenly by area, shifted at random in height and azimuth.

    The shift (Cranley and Patterson 1976) wraps around, so that any object gets a set as even as any
    other's, and elevations of its own.
    """
    height_shift, turn_shift = rng.random(2)
    heights = (np.arange(count) / max(count, 1) + height_shift) % 1  # (count,)
    turns = (np.array([radical_inverse(index) for index in range(count)]) + turn_shift) % 1  # (count,)
    return make_viewpoints(turns, np.degrees(np.arcsin(heights)))


def radical_inverse(index: int) -> float:
    """Mirror a number's binary digits at the point: 1, 2, 3 become 0.5, 0.25, 0.75 (van der Corput)."""
    return int(f"{index:032b}"[::-1], 2) / 2**32


def make_viewpoints(turns: Floats, elevations_deg: Floats) -> list[Viewpoint]:
    """Pair azimuths, (N,) in turns, with (N,) elevations."""
    return [
        Viewpoint(azimuth_deg=360 * float(turn), elevation_deg=float(elevation_deg))
        for turn, elevation_deg in zip(turns, elevations_deg, strict=True)
    ]


def look_at_rotation(viewpoint: Viewpoint) -> NDArray[np.float64]:
    """Return the (3, 3) camera-to-world rotation of a camera that looks at the origin.

    Columns are the camera's right, up and back axes. They come from the angles and not from a cross
    product with world up, so the camera at the zenith is the limit of those around it, not undefined.
    """
    azimuth, elevation = radians(viewpoint.azimuth_deg), radians(viewpoint.elevation_deg)
    right = (-sin(azimuth), cos(azimuth), 0.0)
    up = (-sin(elevation) * cos(azimuth), -sin(elevation) * sin(azimuth), cos(elevation))
    back = (cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth), sin(elevation))
    return np.array([right, up, back]).T


def look_at(viewpoint: Viewpoint, distance: float) -> NDArray[np.float64]:
    """Return the (4, 4) camera-to-world matrix of a camera `distance` from the origin, looking at it."""
    matrix = np.eye(4)
    matrix[:3, :3] = look_at_rotation(viewpoint)
    matrix[:3, 3] = distance * matrix[:3, 2]
    return matrix


def fitting_distance(points: Floats, rotation: Floats, intrinsics: Intrinsics, margin: float) -> float:
    """Return the smallest distance from the origin at which every point is inside the frame.

    With (x, y, z) a point in the rotated frame, its depth is d - z, and it is inside when |x| and |y| are
    at most (d - z) * tan(half fov) * (1 - margin). Each point bounds d from below; the largest bound wins.

    Args:
        points: (N, 3) world.
        rotation: (3, 3) camera to world.
        margin: share of the half frame that stays free on each side, in [0, 1).

    Returns:
        The distance in world units; 0 where there is no point.
    """
    if not len(points):
        return 0.0
    in_camera = np.asarray(points, dtype=np.float64) @ rotation  # (N, 3)
    reach = np.abs(in_camera[:, :2]).max(axis=1) / (intrinsics.tan_half_fov * (1 - margin))  # (N,)
    return max(0.0, float((in_camera[:, 2] + reach).max()))


def fitted_camera(
    viewpoint: Viewpoint, points: Floats, intrinsics: Intrinsics, *, distance: float, margin: float
) -> Camera:
    """Place a camera at `distance`, or as much further away as the object needs to be wholly in frame.

    The viewpoint's distance factor scales what results, and never brings the object out of frame.
    """
    intrinsics = intrinsics.widened(viewpoint.fov_factor)
    fitting = fitting_distance(points, look_at_rotation(viewpoint), intrinsics, margin)
    wanted = viewpoint.distance_factor * max(distance, fitting)
    return make_camera(viewpoint, max(wanted, fitting), intrinsics)


def make_camera(viewpoint: Viewpoint, distance: float, intrinsics: Intrinsics) -> Camera:
    middle = intrinsics.resolution / 2
    return Camera(
        azimuth_deg=viewpoint.azimuth_deg,
        elevation_deg=viewpoint.elevation_deg,
        distance=distance,
        camera_to_world=tuple(look_at(viewpoint, distance).ravel().tolist()),
        width=intrinsics.resolution,
        height=intrinsics.resolution,
        fx=intrinsics.focal_px,
        fy=intrinsics.focal_px,
        cx=middle,
        cy=middle,
    )


def project(points: Floats, camera: Camera) -> NDArray[np.float64]:
    """Project (N, 3) world points to (N, 2) pixels; NaN for a point that is not in front of the camera."""
    matrix = np.array(camera.camera_to_world).reshape(4, 4)
    in_camera = (np.asarray(points, dtype=np.float64) - matrix[:3, 3]) @ matrix[:3, :3]  # (N, 3)
    depth = np.where(in_camera[:, 2] < 0, -in_camera[:, 2], np.nan)  # (N,)
    x = camera.cx + camera.fx * in_camera[:, 0] / depth
    y = camera.cy - camera.fy * in_camera[:, 1] / depth
    return np.stack([x, y], axis=1)  # (N, 2)


def pixel_bounds(points: Floats, camera: Camera, padding_px: int) -> PixelRect:
    """Return the pixels that the points can touch, with `padding_px` around them, inside the picture.

    Never empty: where no point is in front of the camera the whole picture is returned.
    """
    pixels = project(points, camera)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(pixels):
        return 0, 0, camera.width, camera.height
    low = np.floor(pixels.min(axis=0)) - padding_px  # (2,)
    high = np.ceil(pixels.max(axis=0)) + padding_px  # (2,)
    x_min, x_max = clip_span(low[0], high[0], camera.width)
    y_min, y_max = clip_span(low[1], high[1], camera.height)
    return x_min, y_min, x_max, y_max


def clip_span(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the whole pixels from `low` to `high` that lie in [0, size], at least one."""
    start = int(min(max(low, 0), size - 1))
    return start, int(min(max(high, start + 1), size))
