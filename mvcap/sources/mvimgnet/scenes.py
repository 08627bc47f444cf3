"""One scene: which of its frames are valid, which of these are kept, and their cameras and masks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mvcap.errors import BAD_ASSET, TOO_FEW_VIEWS
from mvcap.pictures import FileContent, Picture, UnusableInputError
from mvcap.poses import make_camera, upright_frame
from mvcap.records import Camera, SelectedObject
from mvcap.sampling import spread_by_direction, spread_by_time
from mvcap.sources._frames import decodes, picture_files
from mvcap.sources.mvimgnet.reconstruction import Frame, Reconstruction, read_reconstruction


@dataclass(frozen=True, slots=True)
class Scenes:
    """Scenes below one folder; the arguments are the source's options."""

    root: Path
    min_views: int
    views: int | None
    spread: Literal["direction", "time"]
    masks: Path | None
    """Root of the tree of masks; None where none are wanted."""

    def find(self, item: SelectedObject) -> list[Picture]:
        """Return the frames of a scene that are kept; a frame's index counts all its files, kept or not.

        Raises:
            UnusableInputError: no reconstruction, or fewer than `min_views` valid frames.
        """
        folder = self._folder(item)
        files = picture_files(folder / "images")
        reconstruction = read_reconstruction(folder / "sparse" / "0")
        valid = self._valid(files, reconstruction)
        cameras = cameras_of({name: reconstruction.frames[name] for name in valid}, reconstruction.points)
        order = {name: index for index, name in enumerate(files)}
        masks = self._masks(folder) if self.masks else {}
        return [
            Picture(order[name], name, FileContent(files[name]), cameras[name], _mask(name, masks))
            for name in self._kept(valid, cameras)
        ]

    def _folder(self, item: SelectedObject) -> Path:
        folder = Path(item.record.asset)
        if not folder.is_relative_to(self.root) or not folder.is_dir():
            raise UnusableInputError(BAD_ASSET, f"the scene {item.record.source_id!r} is no longer there")
        return folder

    def _valid(self, files: Mapping[str, Path], reconstruction: Reconstruction) -> list[str]:
        """Return the names of the frames that are there, are registered and decode, in their order."""
        there = [name for name in files if name in reconstruction.frames]
        valid = [name for name in there if decodes(files[name])]
        if len(valid) < self.min_views:
            missing = len(reconstruction.frames.keys() - files.keys())
            raise UnusableInputError(
                TOO_FEW_VIEWS,
                f"{len(valid)} valid frames, fewer than {self.min_views}: {missing} registered ones are "
                f"missing, {len(files) - len(there)} files are not registered, {len(there) - len(valid)} do "
                "not decode",
            )
        return valid

    def _kept(self, valid: list[str], cameras: Mapping[str, Camera]) -> list[str]:
        if self.views is None:
            return valid
        if self.spread == "time":
            return [valid[index] for index in spread_by_time(len(valid), self.views)]
        return [valid[index] for index in spread_by_direction(directions(cameras, valid), self.views)]

    def _masks(self, folder: Path) -> dict[str, Path]:
        """List the scene's masks, in whichever of the published places."""
        assert self.masks
        own = self.masks / folder.relative_to(self.root)
        places = [own / "masks", own / "images", own] if self.masks != self.root else [own / "masks"]
        return next((found for place in places if (found := picture_files(place))), {})


def cameras_of(frames: Mapping[str, Frame], points: NDArray[np.float64]) -> dict[str, Camera]:
    """Express the cameras of frames, in their order, in a frame like the dataset's."""
    poses = np.stack([frame.camera_to_world for frame in frames.values()])  # (V, 4, 4)
    tangents = np.array([frame.half_fov_tan for frame in frames.values()])  # (V,)
    upright = upright_frame(poses, tangents, points)
    return {
        name: make_camera(
            pose,
            width=frame.width,
            height=frame.height,
            fx=frame.fx,
            fy=frame.fy,
            cx=frame.cx,
            cy=frame.cy,
        )
        for pose, (name, frame) in zip(upright, frames.items(), strict=True)
    }


def directions(cameras: Mapping[str, Camera], names: list[str]) -> NDArray[np.float64]:
    """Return the (V, 3) unit vectors from the object to its cameras."""
    positions = np.array([cameras[name].camera_to_world for name in names]).reshape(-1, 4, 4)[:, :3, 3]
    unit: NDArray[np.float64] = positions / np.maximum(
        np.linalg.norm(positions, axis=1, keepdims=True), 1e-12
    )
    return unit


def _mask(name: str, masks: Mapping[str, Path]) -> FileContent | None:
    """Return the mask of a frame: `001.jpg.png`, `001.png` or `001.jpg`."""
    candidates = (f"{name}.png", f"{Path(name).stem}.png", name)
    return next((FileContent(masks[candidate]) for candidate in candidates if candidate in masks), None)
