"""Write a scene as MVImgNet lays it out, its `sparse/0` with COLMAP's own writer, from known cameras."""

from collections.abc import Sequence
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import pycolmap
from PIL import Image

SIZE = (96, 54)
FOCAL = 90.0


def ring(
    count: int, *, arc_deg: float = 360.0, elevation_deg: float = 25.0, distance: float = 1.4
) -> np.ndarray:
    """Return (V, 4, 4) OpenGL cameras, level, that look at the origin from around it; +Z is up."""
    poses = []
    for azimuth in np.radians(np.linspace(0, arc_deg, count, endpoint=arc_deg < 360)):
        elevation = radians(elevation_deg)
        right = (-sin(azimuth), cos(azimuth), 0.0)
        up = (-sin(elevation) * cos(azimuth), -sin(elevation) * sin(azimuth), cos(elevation))
        back = (cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth), sin(elevation))
        pose = np.eye(4)
        pose[:3, :3] = np.array([right, up, back]).T
        pose[:3, 3] = distance * pose[:3, 2]
        poses.append(pose)
    return np.stack(poses)


def similar(poses: np.ndarray, rotation: np.ndarray, translation: np.ndarray, scale: float) -> np.ndarray:
    """Move (V, 4, 4) cameras to another frame."""
    moved = poses.copy()
    moved[:, :3, :3] = rotation @ poses[:, :3, :3]
    moved[:, :3, 3] = scale * poses[:, :3, 3] @ rotation.T + translation
    return moved


def write_sparse(
    folder: Path, poses: np.ndarray, names: Sequence[str], *, model: str = "SIMPLE_RADIAL"
) -> None:
    """Write the three files for (V, 4, 4) OpenGL cameras, as old COLMAPs do."""
    width, height = SIZE
    parameters = {
        "SIMPLE_RADIAL": [FOCAL, width / 2, height / 2, 0.02],
        "PINHOLE": [FOCAL, FOCAL, width / 2, height / 2],
    }
    reconstruction = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model=model, width=width, height=height, params=parameters[model], camera_id=1)
    reconstruction.add_camera_with_trivial_rig(camera)
    for index, (pose, name) in enumerate(zip(poses, names, strict=True), 1):
        to_camera = np.linalg.inv(pose @ np.diag([1.0, -1.0, -1.0, 1.0]))
        image = pycolmap.Image(name=name, camera_id=1, image_id=index)
        world = pycolmap.Rigid3d(to_camera[:3])
        reconstruction.add_image_with_trivial_frame(image, world)
    for corner in np.indices((2, 2, 2)).reshape(3, -1).T - 0.5:
        reconstruction.add_point3D(corner, pycolmap.Track(), np.zeros(3, np.uint8))
    folder.mkdir(parents=True)
    reconstruction.write_binary(str(folder))
    for name in ("rigs.bin", "frames.bin"):  # MVImgNet is older than these
        (folder / name).unlink(missing_ok=True)


def write_scene(folder: Path, poses: np.ndarray, **sparse: str) -> list[str]:
    """Write frames and reconstruction, and return the frames' names."""
    names = [f"{index + 1:03d}.jpg" for index in range(len(poses))]
    (folder / "images").mkdir(parents=True)
    for index, name in enumerate(names):
        Image.new("RGB", SIZE, (6 * index % 256, 90, 200)).save(folder / "images" / name)
    write_sparse(folder / "sparse" / "0", poses, names, **sparse)
    return names
