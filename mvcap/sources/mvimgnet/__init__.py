"""MVImgNet, versions 1 and 2: videos of real objects as frames, with the cameras that COLMAP found.

`PATH/<class id>/<instance id>/{images/, sparse/0/{cameras,images,points3D}.bin}`; masks are in `masks/` of
the instance (version 2) or in a tree of their own of the same shape (version 1: `mask_path`). Valid are
frames that decode and that the reconstruction has placed; of several models in `sparse/`, 0 counts.

A reconstruction has no up, no centre and no scale. Here up comes from the cameras having been held level,
the centre from where their axes meet, and the scale from how much of the frame a rendered object fills;
azimuth 0 is where the first valid frame was taken. So azimuths are relative to each object's own first frame,
elevations are as good as the cameras were level, and distances compare within an object only.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mvcap.config import OPERATIONAL, AbsolutePath
from mvcap.pictures import FindPictures
from mvcap.plan import make_uid
from mvcap.plugins import missing_extra
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._folders import is_utf8, readable_folder, subfolders
from mvcap.sources._listing import reject
from mvcap.sources._sequences import Spread
from mvcap.sources.mvimgnet.names import class_names

SOURCE = "mvimgnet"
CAMERAS = "estimated by COLMAP; up, centre and scale from how the cameras stand, azimuth 0 at the first frame"
USUAL_VIEWS = 31
"""Frames of a scene: 2.4M of 78K scenes in MVCap."""
LICENSE = "CC-BY-NC-4.0"
"""Of the dataset as a whole."""


class Options(BaseModel):
    """Options of the `mvimgnet` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[AbsolutePath, OPERATIONAL]
    names: Annotated[AbsolutePath | None, OPERATIONAL] = None
    """`mvimgnet_category.txt` or `mvimgnet2_category.json`; where null, in the folder or beside it."""
    min_views: int = Field(30, ge=1)
    """Valid frames that a scene must have, as in MVCap."""
    views: int | None = Field(None, ge=1)
    """How many of its valid frames are kept; all where null."""
    spread: Spread = "direction"
    masks: bool = False
    """Store masks, where there are any, and how much of each frame the object covers."""
    mask_path: Annotated[AbsolutePath | None, OPERATIONAL] = None
    """The tree of masks of version 1; inside the scenes, as in version 2, where null."""
    license: Annotated[str, OPERATIONAL] = LICENSE


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List every scene by its folder, without looking inside; a class without a name is rejected.

    Raises:
        AssetFolderError: the folder or the list of class names cannot be read.
        MissingExtraError: pycolmap is not installed.
    """
    if find_spec("pycolmap") is None:
        raise missing_extra("mvcap.sources.mvimgnet", ModuleNotFoundError(name="pycolmap"))
    root = readable_folder(options.path, "classes of MVImgNet")
    names = class_names(root, options.names)
    for class_id in filter(str.isdecimal, subfolders(root)):
        category = names.get(int(class_id))
        for instance in subfolders(root / class_id):
            source_id = f"{class_id}/{instance}"
            if not is_utf8(instance):
                message = f"the name {instance!r} is not UTF-8; rename it"
                yield reject(SOURCE, source_id, message)
            elif category:
                yield _object(source_id, root / class_id / instance, category, options.license)
            else:
                message = f"the list of class names has no {class_id}"
                yield reject(SOURCE, source_id, message)


def open_pictures(options: Options) -> FindPictures:
    """Return what reads a scene's reconstruction and chooses its frames."""
    from mvcap.sources.mvimgnet.scenes import Scenes

    return Scenes(
        options.path,
        min_views=options.min_views,
        views=options.views,
        spread=options.spread,
        masks=(options.mask_path or options.path) if options.masks else None,
    ).find


def expected_views(options: Options) -> Callable[[SelectedObject], int]:
    """Return what says how many views a scene usually has."""
    return lambda _: min(options.views or USUAL_VIEWS, USUAL_VIEWS)


def _object(source_id: str, folder: Path, category: str, license_name: str) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, source_id),
        source=SOURCE,
        source_id=source_id,
        name=folder.name,
        asset=str(folder),
        license=license_name,
        creator="MVImgNet",
        source_url="https://github.com/GAP-LAB-CUHK-SZ/MVImgNet",
    )
    return SelectedObject(record, category)
