"""What objaverse-rendering or Objaverse-XL's rendering script wrote: `<uid>/NNN.png`, with `NNN.npy`.

The folder holds a folder for each object, or a zip `<uid>.zip` with that folder inside, as the script of
Objaverse-XL leaves them. `NNN.npy` is a (3, 4) world-to-camera matrix in Blender's axes, which are OpenGL's;
objaverse-rendering itself wrote none, and its views then have no cameras. Both normalise the object to the
unit cube at the origin, +Z up, and look at it through a lens of 35 mm on 32 mm: the dataset's own convention.

Nothing there says what an object is: a table does, by its uid. Objects that it leaves out are rejected.
"""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from mvcap.config import OPERATIONAL, AbsolutePath
from mvcap.pictures import Content, FileContent, FindPictures, Picture, UnusableInputError
from mvcap.plan import make_uid
from mvcap.poses import make_camera
from mvcap.records import Camera, ObjectRecord, Rejected, SelectedObject
from mvcap.sources._archives import Archive, EntryContent
from mvcap.sources._folders import is_utf8, readable_folder, subfolders
from mvcap.sources._listing import reject
from mvcap.sources._renders import Unusable, file_names, numbered, read_pose
from mvcap.sources._tables import read_categories

SOURCE = "rendered_views"
CAMERAS = "exact, from the renderer; the object in the unit cube at the origin"
NOMINAL_PX: Final = 512
"""Of a camera before its picture is read, whose size then counts."""
MOST_ENTRIES: Final = 100_000
"""Of one object's zip."""
LARGEST_UNPACKED_BYTES: Final = 2**34


class Options(BaseModel):
    """Options of the `rendered_views` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[AbsolutePath, OPERATIONAL]
    """The folder that holds the objects' own folders or zips."""
    categories: Annotated[AbsolutePath, OPERATIONAL]
    """A table of `uid` (or `source_id`, as `mvcap filter` writes) and `category`, CSV or Parquet, or
    Objaverse's `lvis-annotations.json.gz`."""
    usual_views: Annotated[int, OPERATIONAL, Field(ge=1)] = 12
    """How many pictures an object has, for the progress bar; both scripts make 12 unless told otherwise."""
    lens_mm: float = Field(35.0, gt=0)
    sensor_mm: float = Field(32.0, gt=0)
    license: Annotated[str | None, OPERATIONAL] = None


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List every folder and zip by its name, without looking inside.

    An object without a category is rejected, and one that is there as a folder and as a zip is taken once.

    Raises:
        AssetFolderError: the folder or the table of categories cannot be read.
    """
    root = readable_folder(options.path, "rendered objects")
    categories = read_categories(options.categories, "uid", "source_id")
    zips = {name[:-4]: root / name for name in file_names(root) if name.lower().endswith(".zip")}
    objects = zips | {name: root / name for name in subfolders(root)}
    for uid, path in objects.items():
        if not is_utf8(path):
            yield reject(SOURCE, uid, f"the name {uid!r} is not UTF-8")
        elif category := categories.get(uid):
            yield _object(uid, path, category, options.license)
        else:
            message = f"{options.categories.name} gives {uid!r} no category"
            yield reject(SOURCE, uid, message)


def open_pictures(options: Options) -> FindPictures:
    """Return what lists an object's pictures and reads their poses."""

    def find(item: SelectedObject) -> list[Picture]:
        contents = _contents(Path(item.record.asset))
        return [
            _picture(index, name, contents, options.lens_mm / options.sensor_mm)
            for index, name in numbered(contents).items()
        ]

    return find


def expected_views(options: Options) -> Callable[[SelectedObject], int]:
    """Return what says how many pictures an object usually has."""
    return lambda _: options.usual_views


def _contents(path: Path) -> dict[str, Content]:
    """Map the file names of an object, without folders, to what they hold."""
    if path.is_dir():
        return {name: FileContent(path / name) for name in file_names(path)}
    archive = Archive(path, most_entries=MOST_ENTRIES, largest_bytes=LARGEST_UNPACKED_BYTES)
    return {PurePosixPath(name).name: EntryContent(archive, name) for name in archive}


def _picture(index: int, name: str, contents: dict[str, Content], focal_ratio: float) -> Picture:
    pose = contents.get(f"{PurePosixPath(name).stem}.npy")
    try:
        camera = _camera(pose.read(), name, focal_ratio) if pose else None
    except UnusableInputError as error:
        return Picture(index, name, Unusable(error.reason, f"its pose: {error}"))
    return Picture(index, name, contents[name], camera, rendered=True)


def _camera(pose: bytes, name: str, focal_ratio: float) -> Camera:
    focal, middle = focal_ratio * NOMINAL_PX, NOMINAL_PX / 2
    return make_camera(
        read_pose(pose, f"{PurePosixPath(name).stem}.npy"),
        width=NOMINAL_PX,
        height=NOMINAL_PX,
        fx=focal,
        fy=focal,
        cx=middle,
        cy=middle,
    )


def _object(uid: str, path: Path, category: str, license_of_all: str | None) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, uid),
        source=SOURCE,
        source_id=uid,
        name=uid,
        asset=str(path),
        license=license_of_all,
        creator=None,
        source_url=None,
    )
    return SelectedObject(record, category)
