"""One scene: which of its frames are valid, which of these are kept, and their cameras and masks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mvcap.errors import BAD_ASSET, TOO_FEW_VIEWS
from mvcap.pictures import FileContent, Picture, UnusableInputError
from mvcap.records import SelectedObject
from mvcap.sources._frames import decodes, picture_files
from mvcap.sources._sequences import Spread, cameras_of, kept
from mvcap.sources.mvimgnet.reconstruction import Reconstruction, read_reconstruction


@dataclass(frozen=True, slots=True)
class Scenes:
    """Scenes below one folder; the arguments are the source's options."""

    root: Path
    min_views: int
    views: int | None
    spread: Spread
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
            for name in kept(valid, cameras, self.views, self.spread)
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

    def _masks(self, folder: Path) -> dict[str, Path]:
        """List the scene's masks, in whichever of the published places."""
        assert self.masks
        own = self.masks / folder.relative_to(self.root)
        places = [own / "masks", own / "images", own] if self.masks != self.root else [own / "masks"]
        return next((found for place in places if (found := picture_files(place))), {})


def _mask(name: str, masks: Mapping[str, Path]) -> FileContent | None:
    """Return the mask of a frame: `001.jpg.png`, `001.png` or `001.jpg`."""
    candidates = (f"{name}.png", f"{Path(name).stem}.png", name)
    return next((FileContent(masks[candidate]) for candidate in candidates if candidate in masks), None)
