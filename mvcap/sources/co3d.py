"""CO3Dv2: videos of real objects with masks, and cameras from COLMAP in PyTorch3D's convention.

`PATH/<category>/{frame,sequence}_annotations.jgz` are gzipped JSON lists; the frames' files lie where these
say, below PATH. A viewpoint is `X_camera = X_world R + T` for row vectors, +X left, +Y up, +Z forward; focal
length and principal point are in units of half the shorter side (`ndc_isotropic`), or of each half side
(`ndc_norm_image_bounds`, version 1).

Up, centre and scale are as little known as in MVImgNet and estimated in the same way.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mvcap.class_names import clean_name
from mvcap.config import OPERATIONAL, AbsolutePath
from mvcap.errors import BAD_ASSET, NO_POSES, TOO_FEW_VIEWS, AssetFolderError
from mvcap.pictures import FileContent, FindPictures, Picture, UnusableInputError
from mvcap.plan import make_uid
from mvcap.poses import is_rigid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._archives import plain_parts
from mvcap.sources._folders import is_utf8, readable_folder, subfolders
from mvcap.sources._frames import decodes
from mvcap.sources._json import iterate_list
from mvcap.sources._listing import reject
from mvcap.sources._sequences import Frame, Spread, cameras_of, kept

SOURCE = "co3d"
CAMERAS = "estimated by COLMAP; up, centre and scale from how the cameras stand, azimuth 0 at the first frame"
SEQUENCES: Final = "sequence_annotations.jgz"
FRAMES: Final = "frame_annotations.jgz"
USUAL_VIEWS: Final = 100
"""Frames of a sequence: most have 102 or 202."""
MOST_FRAMES: Final = 2**31
"""The column of view indices holds no larger number."""
LICENSE: Final = "CC-BY-NC-4.0"
REVIEWED: Final = {
    **{"hydrant": "fire hydrant", "remote": "remote control", "mouse": "computer mouse", "tv": "television"},
    **{"plant": "potted plant", "keyboard": "computer keyboard"},
    **{"baseballbat": "baseball bat", "baseballglove": "baseball glove", "cellphone": "cell phone"},
    **{"hairdryer": "hair dryer", "hotdog": "hot dog", "parkingmeter": "parking meter"},
    **{"stopsign": "stop sign", "teddybear": "teddy bear", "wineglass": "wine glass"},
    **{"toybus": "toy bus", "toyplane": "toy plane", "toytrain": "toy train", "toytruck": "toy truck"},
}
"""Categories written in one word, and those that mean something else without their context."""
TOWARDS_OPENGL: Final = np.diag([-1.0, 1.0, -1.0])
"""PyTorch3D's camera axes (left, up, forward) as OpenGL's (right, up, back)."""


class Options(BaseModel):
    """Options of the `co3d` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[AbsolutePath, OPERATIONAL]
    min_views: int = Field(30, ge=1)
    """Valid frames that a sequence must have."""
    views: int | None = Field(None, ge=1)
    """How many of its valid frames are kept; all where null."""
    spread: Spread = "direction"
    masks: bool = False
    """Store masks, and how much of each frame the object covers."""
    license: Annotated[str, OPERATIONAL] = LICENSE


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List every sequence of every category that has annotations.

    Raises:
        AssetFolderError: the folder or a file of sequences cannot be read.
    """
    root = readable_folder(options.path, "categories of CO3D")
    for category in subfolders(root):
        if not (path := root / category / SEQUENCES).is_file():
            continue
        for sequence in _items(path):
            name = str(sequence.get("sequence_name", ""))
            source_id = f"{category}/{name}"
            if not name:
                raise AssetFolderError(f"{path} has a sequence without a sequence_name")
            if is_utf8(source_id):
                yield _object(source_id, root / category, category, options.license)
            else:
                message = f"the name {source_id!r} is not UTF-8"
                yield reject(SOURCE, source_id, message)


def open_pictures(options: Options) -> FindPictures:
    """Return what finds a sequence's frames; it holds the annotations of one category at a time."""
    held: dict[str, dict[str, list[Mapping[str, Any]]]] = {}

    def find(item: SelectedObject) -> list[Picture]:
        category, _, name = item.record.source_id.partition("/")
        if category not in held:
            held.clear()
            held[category] = _frames_of(options.path / category / FRAMES)
        return sequence_pictures(options.path, held[category].get(name, []), options)

    return find


def expected_views(options: Options) -> Callable[[SelectedObject], int]:
    """Return what says how many views a sequence usually has."""
    return lambda _: min(options.views or USUAL_VIEWS, USUAL_VIEWS)


def sequence_pictures(root: Path, annotations: list[Mapping[str, Any]], options: Options) -> list[Picture]:
    """Return the frames of one sequence that are kept.

    Raises:
        UnusableInputError: there are fewer valid ones than `min_views`, or an annotation is damaged.
    """
    try:
        frames = {str(entry["image"]["path"]): (_number(entry), entry) for entry in annotations}
        placed = {name: frame_of(entry) for name, (_, entry) in frames.items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UnusableInputError(NO_POSES, f"a frame's annotation is damaged: {error!r}") from error
    there = {name: path for name in placed if (path := _file(root, name))}
    valid = sorted((name for name, path in there.items() if decodes(path)), key=lambda name: frames[name][0])
    if len(valid) < options.min_views:
        raise UnusableInputError(
            TOO_FEW_VIEWS,
            f"{len(valid)} valid frames, fewer than {options.min_views}: {len(placed) - len(there)} of "
            f"{len(placed)} are missing, {len(there) - len(valid)} do not decode",
        )
    cameras = cameras_of({name: placed[name] for name in valid})
    return [
        Picture(
            frames[name][0],
            name,
            FileContent(there[name]),
            cameras[name],
            _mask(root, frames[name][1]) if options.masks else None,
        )
        for name in kept(valid, cameras, options.views, options.spread)
    ]


def frame_of(annotation: Mapping[str, Any]) -> Frame:
    """Turn a frame's annotation into an OpenGL camera of its sequence's own frame.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or no camera is described.
    """
    height, width = (int(side) for side in annotation["image"]["size"])
    viewpoint = annotation["viewpoint"]
    rotation = np.array(viewpoint["R"], dtype=np.float64).reshape(3, 3)
    translation = np.array(viewpoint["T"], dtype=np.float64).reshape(3)
    pose = np.eye(4)
    pose[:3, :3] = rotation @ TOWARDS_OPENGL
    pose[:3, 3] = -rotation @ translation
    if not is_rigid(pose) or min(width, height) < 1:
        raise ValueError(f"no camera: R={viewpoint['R']}, size={annotation['image']['size']}")
    half_x, half_y = _half_sides(width, height, viewpoint.get("intrinsics_format"))
    focal_x, focal_y = (float(length) for length in viewpoint["focal_length"])
    point_x, point_y = (float(offset) for offset in viewpoint["principal_point"])
    if not (focal_x > 0 and focal_y > 0):
        raise ValueError(f"focal_length={viewpoint['focal_length']}")
    return Frame(
        pose,
        width,
        height,
        fx=focal_x * half_x,
        fy=focal_y * half_y,
        cx=width / 2 - point_x * half_x,
        cy=height / 2 - point_y * half_y,
    )


def _number(annotation: Mapping[str, Any]) -> int:
    """Return a frame's number; a ValueError says that no view can have it."""
    number = int(annotation["frame_number"])
    if not 0 <= number < MOST_FRAMES:
        raise ValueError(f"frame_number={number}")
    return number


def _half_sides(width: int, height: int, intrinsics_format: str | None) -> tuple[float, float]:
    """Return the pixels that stand for one unit of focal length, across and down."""
    match intrinsics_format:
        case "ndc_isotropic":
            return min(width, height) / 2, min(width, height) / 2
        case "ndc_norm_image_bounds" | None:
            return width / 2, height / 2
    raise ValueError(f"unknown intrinsics_format {intrinsics_format!r}")


def _file(root: Path, name: str) -> Path | None:
    """Return the file that an annotation names, which is never looked for outside the corpus."""
    parts = plain_parts(name)
    return path if parts and (path := root.joinpath(*parts)).is_file() else None


def _mask(root: Path, annotation: Mapping[str, Any]) -> FileContent | None:
    mask = annotation.get("mask")
    name = mask.get("path") if isinstance(mask, dict) else None
    path = _file(root, str(name)) if name else None
    return FileContent(path) if path else None


def _frames_of(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    """Read the frames of a category, by sequence, and only what is needed of each.

    Raises:
        UnusableInputError: the file is missing or damaged.
    """
    sequences: dict[str, list[Mapping[str, Any]]] = {}
    try:
        for entry in _items(path):
            wanted = {name: entry.get(name) for name in ("frame_number", "image", "mask", "viewpoint")}
            sequences.setdefault(str(entry.get("sequence_name")), []).append(wanted)
    except AssetFolderError as error:
        raise UnusableInputError(BAD_ASSET, str(error)) from error
    return sequences


def _items(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the items of a gzipped JSON list.

    Raises:
        AssetFolderError: it cannot be read, or is something else.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for item in iterate_list(file):
                if not isinstance(item, dict):
                    raise ValueError(f"an item is {item!r} instead of an object")
                yield item
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise AssetFolderError(f"cannot read {path}: {error}") from error


def _object(source_id: str, folder: Path, category: str, license_name: str) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, source_id),
        source=SOURCE,
        source_id=source_id,
        name=source_id.rpartition("/")[2],
        asset=str(folder),
        license=license_name,
        creator="CO3D",
        source_url="https://github.com/facebookresearch/co3d",
    )
    return SelectedObject(record, clean_name(category, REVIEWED))
