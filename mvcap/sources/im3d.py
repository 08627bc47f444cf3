"""IM3D, in both layouts in which it goes around: numbered pictures, or scenes as NeRF's for Blender.

`<object>/<nnn>.png`, 100 for each object, without cameras; or scenes with `transforms_train.json`,
`transforms_val.json` and `transforms_test.json` (`camera_angle_x`, and for each frame a `file_path`, with or
without its suffix, and a `transform_matrix`: camera to world in Blender's axes). Objects may lie in folders
that name their class; otherwise a table names it, or else the object's own name without its number.

Cameras of scenes keep Blender's up and origin; the scale is chosen so that they frame as much as our renders.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from math import tan
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from mvcap.categories import has_word
from mvcap.class_names import clean_name
from mvcap.config import OPERATIONAL, AbsolutePath
from mvcap.errors import BAD_ASSET, TOO_BIG
from mvcap.pictures import FileContent, FindPictures, Picture, UnusableInputError
from mvcap.plan import make_uid
from mvcap.poses import framed_scale, is_rigid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._archives import plain_parts
from mvcap.sources._folders import is_utf8, readable_folder, subfolders
from mvcap.sources._frames import PICTURE_SUFFIXES
from mvcap.sources._listing import reject
from mvcap.sources._renders import Unusable, file_names, numbered
from mvcap.sources._sequences import Frame, placed
from mvcap.sources._tables import read_categories

SOURCE = "im3d"
CAMERAS = (
    "of scenes: up and origin as in their transforms files, scaled to frame as much as a render; else none"
)
SPLITS: Final = ("transforms_train.json", "transforms_val.json", "transforms_test.json", "transforms.json")
DEEPEST: Final = 4
"""Folders between the corpus and an object's pictures."""
NOMINAL_PX: Final = 800
"""Of a camera before its picture is read, whose size then counts."""
LARGEST_JSON_BYTES: Final = 2**26
USUAL_VIEWS: Final = 100


class Options(BaseModel):
    """Options of the `im3d` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[AbsolutePath, OPERATIONAL]
    categories: Annotated[AbsolutePath | None, OPERATIONAL] = None
    """A table of `object`, its path below the folder, and `category`; see the module for what else counts."""
    license: Annotated[str | None, OPERATIONAL] = None


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List every folder that holds a scene or pictures, in the order of their paths.

    Raises:
        AssetFolderError: the folder or the table of categories cannot be read.
    """
    root = readable_folder(options.path, "objects of IM3D")
    categories = read_categories(options.categories, "object") if options.categories else {}
    for folder in _object_folders(root, DEEPEST):
        source_id = folder.relative_to(root).as_posix()
        category = categories.get(source_id) or _category_of(folder, root)
        if not is_utf8(folder):
            message = f"the path {source_id!r} is not UTF-8; rename it"
            yield reject(SOURCE, source_id, message)
        elif not has_word(category):
            message = f"{source_id!r} has no category: name one in options.categories"
            yield reject(SOURCE, source_id, message)
        else:
            yield _object(source_id, folder, category, options.license)


def open_pictures(options: Options) -> FindPictures:
    """Return what finds an object's pictures, and their cameras where it is a scene."""

    def find(item: SelectedObject) -> list[Picture]:
        folder = Path(item.record.asset)
        if any((folder / name).is_file() for name in SPLITS):
            return scene_pictures(folder)
        return [
            Picture(index, name, FileContent(folder / name), rendered=True)
            for index, name in numbered(file_names(folder)).items()
        ]

    return find


def expected_views(options: Options) -> Callable[[SelectedObject], int]:
    """Return what says how many pictures an object has."""
    return lambda _: USUAL_VIEWS


def scene_pictures(folder: Path) -> list[Picture]:
    """Return the frames of a scene, those of training first, numbered through.

    Raises:
        UnusableInputError: a file of transforms is damaged, or a matrix in it is no camera.
    """
    frames = [frame for name in SPLITS if (folder / name).is_file() for frame in _frames(folder / name)]
    if not frames:
        raise UnusableInputError(BAD_ASSET, "the scene's transforms name no frame")
    poses = np.stack([frame.camera_to_world for _, frame in frames])  # (V, 4, 4)
    scaled = framed_scale(poses, np.array([frame.half_fov_tan for _, frame in frames]))
    return [
        Picture(index, name, _content(folder, name), placed(frame, pose), rendered=True)
        for index, (pose, (name, frame)) in enumerate(zip(scaled, frames, strict=True))
    ]


def _frames(path: Path) -> list[tuple[str, Frame]]:
    """Read the name and the camera of each frame."""
    content = _read_json(path)
    try:
        width, height = (int(content.get(side, NOMINAL_PX)) for side in ("w", "h"))
        return [
            (str(frame["file_path"]), _frame(frame, content, width, height)) for frame in content["frames"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UnusableInputError(BAD_ASSET, f"{path.name} is no file of transforms: {error!r}") from error


def _read_json(path: Path) -> Any:
    try:
        if (size := path.stat().st_size) > LARGEST_JSON_BYTES:
            raise UnusableInputError(TOO_BIG, f"{path.name} has {size} bytes, more than {LARGEST_JSON_BYTES}")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UnusableInputError(BAD_ASSET, f"{path.name} cannot be read: {error}") from error


def _pose(matrix: Any) -> NDArray[np.float64]:
    pose = np.array(matrix, dtype=np.float64)
    if pose.shape != (4, 4):
        raise ValueError(f"a transform_matrix is {pose.shape} instead of 4 x 4")
    size = np.cbrt(np.linalg.det(pose[:3, :3]))  # Blender's matrices may carry the scale of a parent
    pose[:3, :3] /= size if size > 0 else 1.0
    if not is_rigid(pose):
        raise ValueError("a transform_matrix is no rotation with a translation")
    return pose


def _frame(frame: Mapping[str, Any], content: Mapping[str, Any], width: int, height: int) -> Frame:
    if min(width, height) < 1:
        raise ValueError(f"pictures of {width} x {height}")
    focal = width / (2 * _half_fov_tan(frame, content))
    return Frame(_pose(frame["transform_matrix"]), width, height, focal, focal, width / 2, height / 2)


def _half_fov_tan(frame: Mapping[str, Any], content: Mapping[str, Any]) -> float:
    angle = float(frame.get("camera_angle_x", content["camera_angle_x"]))
    if not 0 < angle < 3:
        raise ValueError(f"camera_angle_x={angle} is outside (0, 3) radians")
    return tan(angle / 2)


def _content(folder: Path, name: str) -> FileContent | Unusable | None:
    """Return the file that a frame names, which is never looked for outside the scene's folder."""
    if (parts := plain_parts(name)) is None:
        return Unusable(BAD_ASSET, f"{name[:200]!r} is no path below the scene's folder")
    path = folder.joinpath(*parts)
    candidates = [path] if path.suffix.lower() in PICTURE_SUFFIXES else [path.with_name(f"{path.name}.png")]
    return next((FileContent(found) for found in candidates if found.is_file()), None)


def _object_folders(folder: Path, depth: int) -> Iterator[Path]:
    """Yield the folders that hold a scene or pictures, and look no deeper in these."""
    for name in subfolders(folder):
        inside = file_names(folder / name)
        if set(SPLITS) & set(inside) or any(Path(one).suffix.lower() in PICTURE_SUFFIXES for one in inside):
            yield folder / name
        elif depth > 1:
            yield from _object_folders(folder / name, depth - 1)


def _category_of(folder: Path, root: Path) -> str:
    """Return the class whose folder an object lies in, or else the object's name without its number."""
    own = re.sub(r"[\W_]*\d+$", "", folder.name)
    return clean_name(own if folder.parent == root else folder.parent.name, lower=True)


def _object(source_id: str, folder: Path, category: str, license_of_all: str | None) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, source_id),
        source=SOURCE,
        source_id=source_id,
        name=folder.name,
        asset=str(folder),
        license=license_of_all,
        creator=None,
        source_url=None,
    )
    return SelectedObject(record, category)
