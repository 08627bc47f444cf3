"""A scene's `sparse/0`, as COLMAP wrote it: which frames it placed, and where."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from struct import error as StructError
from struct import unpack_from
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mvcap.errors import NO_POSES
from mvcap.pictures import UnusableInputError
from mvcap.poses import from_opencv, from_world_to_camera, is_rigid
from mvcap.sources._sequences import Frame

FILES: Final = ("cameras.bin", "images.bin", "points3D.bin")
LARGEST_BYTES: Final = 2**30
"""Of one file; the densest scenes of MVImgNet have some 10 MB."""
FOCAL_RATIOS: Final = (0.1, 10.0)
"""Of focal length to picture size: what is outside is no camera, as where `cameras.bin` was cut off."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What COLMAP found out about a scene."""

    frames: dict[str, Frame]
    """By file name, without folders."""
    points: NDArray[np.float64]
    """(P, 3)."""


def read_reconstruction(folder: Path) -> Reconstruction:
    """Read the frames that are registered, with their cameras, and the points of a scene.

    Raises:
        UnusableInputError: there is no reconstruction, or it is damaged.
    """
    import pycolmap

    _require_intact(folder)
    try:
        found = pycolmap.Reconstruction(str(folder))
        frames = {
            PurePosixPath(image.name).name: frame
            for image in found.images.values()
            if image.has_pose and (frame := _frame(image))
        }
        points = np.array([point.xyz for point in found.points3D.values()]).reshape(-1, 3)
    except (ValueError, IndexError, KeyError, RuntimeError) as error:
        message = f"the reconstruction cannot be read: {str(error).strip().splitlines()[-1:]}"
        raise UnusableInputError(NO_POSES, message) from error
    return Reconstruction(frames, points[np.isfinite(points).all(axis=1)])


def _frame(image: Any) -> Frame | None:
    """Return one image's camera; None where its numbers describe none."""
    camera = image.camera
    camera_to_world = from_opencv(from_world_to_camera(np.asarray(image.cam_from_world().matrix())))
    if not is_rigid(camera_to_world) or camera.has_bogus_params(*FOCAL_RATIOS, np.inf):
        return None
    return Frame(
        camera_to_world,
        camera.width,
        camera.height,
        camera.focal_length_x,
        camera.focal_length_y,
        camera.principal_point_x,
        camera.principal_point_y,
    )


def _require_intact(folder: Path) -> None:
    """Refuse files whose records do not add up to their size.

    COLMAP reads as many records as a file's header says, whether or not the file holds them: an empty
    `points3D.bin` made it read without end (measured with 4.2.1).

    Raises:
        UnusableInputError: as `no_poses`.
    """
    for name in FILES:
        try:
            if (size := (folder / name).stat().st_size) > LARGEST_BYTES:
                raise UnusableInputError(NO_POSES, f"{name} has {size} bytes, more than {LARGEST_BYTES}")
            data = (folder / name).read_bytes()
            end = _RECORDS[name](data)
        except OSError as error:
            raise UnusableInputError(NO_POSES, f"sparse/0/{name}: {error.strerror}") from error
        except (StructError, ValueError, OverflowError) as error:
            raise UnusableInputError(NO_POSES, f"sparse/0/{name} is cut off") from error
        if end != len(data):
            raise UnusableInputError(
                NO_POSES, f"sparse/0/{name} is damaged: records end at {end} of {len(data)}"
            )


def _end_of_cameras(data: bytes) -> int:
    """Return the file's size unless the header speaks of more cameras than fit: pycolmap knows the models."""
    (count,) = unpack_from("<Q", data)
    if 8 + count * 48 > len(data):
        raise ValueError(count)
    return len(data)


def _end_of_images(data: bytes) -> int:
    (count,) = unpack_from("<Q", data)
    end = 8
    for _ in range(count):
        end = data.index(b"\0", end + 64) + 1
        (observations,) = unpack_from("<Q", data, end)
        end += 8 + 24 * observations
    return end


def _end_of_points(data: bytes) -> int:
    (count,) = unpack_from("<Q", data)
    end = 8
    for _ in range(count):
        (track,) = unpack_from("<Q", data, end + 43)
        end += 51 + 8 * track
    return end


_RECORDS: Final[dict[str, Callable[[bytes], int]]] = {
    "cameras.bin": _end_of_cameras,
    "images.bin": _end_of_images,
    "points3D.bin": _end_of_points,
}
"""Return where the last record ends."""
