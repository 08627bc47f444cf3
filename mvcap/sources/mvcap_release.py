"""MVCap as it was published, or as `mvcap export --format mvcap-json` writes it.

`metadata.json` is a list of `{"path": "./views/<uid>/026.png", "caption", "obj_id", "img_id"}` with `img_id =
obj_id * 100 + view`; the pictures lie where it says, in folders or in zips beside it, whose entries are named
in the same way, with or without leading folders.

It names no categories, licences or poses. Categories come from a table (`uid`, the name of the object's
folder, and `category`), or from the `objects.parquet` that our own export adds; objects in neither are
rejected, for nothing is guessed from captions. `read_captions` gives the published captions, to compare ours
with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict

from mvcap.config import OPERATIONAL, AbsolutePath
from mvcap.errors import BAD_ASSET, AssetFolderError
from mvcap.pictures import Content, FileContent, FindPictures, Picture, UnusableInputError
from mvcap.plan import make_uid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._archives import Archive, EntryContent, plain_parts
from mvcap.sources._folders import is_utf8, readable_folder
from mvcap.sources._json import iterate_list
from mvcap.sources._listing import reject
from mvcap.sources._renders import Unusable
from mvcap.sources._tables import read_categories

SOURCE = "mvcap_release"
METADATA: Final = "metadata.json"
OBJECTS: Final = "objects.parquet"
VIEWS_PER_OBJECT: Final = 100
"""`img_id` leaves room for so many."""


class Options(BaseModel):
    """Options of the `mvcap_release` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[AbsolutePath, OPERATIONAL]
    """The folder that holds `metadata.json`."""
    categories: Annotated[AbsolutePath | None, OPERATIONAL] = None
    """A table of `uid` and `category`, or Objaverse's `lvis-annotations.json.gz`; where null,
    `objects.parquet`."""
    license: Annotated[str | None, OPERATIONAL] = None
    """The published label (MIT) is not that of its sources, so none is assumed."""


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List every object that `metadata.json` names, without looking for its pictures one by one.

    Rejected are objects without a category, those of which neither a folder nor a zip is there, as is the
    case for most of the public release, and paths that lead out of the folder.

    Raises:
        AssetFolderError: the folder, its `metadata.json` or the table cannot be read.
    """
    release = _Release.open(options.path)
    categories = _categories(release.root, options.categories)
    for source_id in sorted(release.objects):
        uid = source_id.rpartition("/")[2]
        if not release.may_hold(source_id):
            message = f"there is no folder {source_id!r}, and no zip to hold it"
        elif category := categories.get(uid):
            yield _object(source_id, release.root / METADATA, category, options.license)
            continue
        else:
            message = f"no table gives {uid!r} a category"
        yield reject(SOURCE, source_id, message)
    for path in release.unusable:
        message = f"{path!r} is no path of a picture below the folder"
        yield reject(SOURCE, path, message)


def open_pictures(options: Options) -> FindPictures:
    """Return what finds an object's pictures; each worker reads `metadata.json` once."""
    release = _Release.open(options.path)

    def find(item: SelectedObject) -> list[Picture]:
        names = release.objects.get(item.record.source_id, "")
        if not names:
            raise UnusableInputError(BAD_ASSET, f"{item.record.source_id!r} is no longer there")
        entries = [entry.partition("\0") for entry in names.split("\n")]
        return sorted(
            (
                Picture(int(view), name, release.content(f"{item.record.source_id}/{name}"), rendered=True)
                for view, _, name in entries
            ),
            key=lambda picture: picture.view_index,
        )

    return find


def expected_views(options: Options) -> Callable[[SelectedObject], int]:
    """Return what counts an object's pictures in `metadata.json`."""
    counts = {name: views.count("\n") + 1 for name, views in _Release.open(options.path).objects.items()}
    return lambda item: counts.get(item.record.source_id, 1)


def read_captions(options: Options) -> Iterator[tuple[str, int, str]]:
    """Yield uid, view index and published caption of every picture, in the order of the file.

    Raises:
        AssetFolderError: the folder or its `metadata.json` cannot be read.
    """
    for path, view, caption in _entries(readable_folder(options.path, "the release") / METADATA):
        if parts := plain_parts(path):
            yield make_uid(SOURCE, "/".join(parts[:-1])), view, caption


@dataclass(frozen=True, slots=True)
class _Release:
    """Where the pictures are, and which ones there should be."""

    root: Path
    objects: dict[str, str]
    """Folder of each object -> `view NUL file name`, a line each: 4.6 million have to fit into memory."""
    unusable: list[str]
    """Paths that no picture of the release can have."""
    zips: list[Path]
    archives: list[tuple[Archive, dict[str, str]]] = field(default_factory=list)
    """Opened with the first picture that is in no folder; with its names by their last two parts."""
    damaged: list[str] = field(default_factory=list)
    """What is wrong with zips that cannot be opened."""

    @classmethod
    def open(cls, path: Path) -> "_Release":
        root = readable_folder(path, "the release, with its metadata.json")
        objects: dict[str, str] = {}
        unusable: dict[str, None] = {}
        for path_in_it, view, _ in _entries(root / METADATA):
            parts = plain_parts(path_in_it)
            if parts is None or len(parts) < 2 or "\n" in path_in_it or not is_utf8(path_in_it):
                unusable[path_in_it] = None
                continue
            folder, line = "/".join(parts[:-1]), f"{view}\0{parts[-1]}"
            objects[folder] = f"{objects[folder]}\n{line}" if folder in objects else line
        for folder, lines in objects.items():
            objects[folder] = "\n".join(_distinct(lines.split("\n"), folder))
        return cls(root, objects, list(unusable), sorted(root.glob("*.zip")))

    def may_hold(self, source_id: str) -> bool:
        return bool(self.zips) or self.root.joinpath(*source_id.split("/")).is_dir()

    def content(self, name: str) -> Content | None:
        """Return a picture's bytes, from its folder or else from a zip; None where it is in neither."""
        if (path := self.root.joinpath(*name.split("/"))).is_file():
            return FileContent(path)
        if not self.archives and not self.damaged:
            self._open_archives()
        for archive, entries in self.archives:
            if entry := entries.get(_tail(name)):
                return EntryContent(archive, entry)
        if self.damaged:
            return Unusable(BAD_ASSET, f"{name!r} is in no folder and no readable zip; {self.damaged[0]}")
        return None

    def _open_archives(self) -> None:
        for zip_path in self.zips:
            try:
                archive = Archive(zip_path)
                self.archives.append((archive, {_tail(entry): entry for entry in archive}))
            except UnusableInputError as error:
                self.damaged.append(str(error))


def _tail(name: str) -> str:
    """Return the last two parts of a name: object and picture."""
    return "/".join(name.rsplit("/", 2)[-2:])


def _distinct(lines: list[str], folder: str) -> list[str]:
    """Leave out what is named twice.

    Raises:
        AssetFolderError: two pictures are one view.
    """
    names: dict[str, str] = {}
    for line in lines:
        view, _, name = line.partition("\0")
        if names.setdefault(view, name) != name:
            raise AssetFolderError(
                f"{METADATA} has two pictures for view {view} of {folder!r}: {names[view]!r} and {name!r}"
            )
    return [f"{view}\0{name}" for view, name in names.items()]


def _entries(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield path, view index and caption of every picture.

    Raises:
        AssetFolderError: the file cannot be read, or an entry in it is not as it should be.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for entry in iterate_list(file):
                yield _entry(entry)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AssetFolderError(f"cannot read {path}: {error}") from error


def _entry(entry: Any) -> tuple[str, int, str]:
    view = int(entry["img_id"]) - VIEWS_PER_OBJECT * int(entry["obj_id"])
    if not 0 <= view < VIEWS_PER_OBJECT:
        raise ValueError(f"img_id={entry['img_id']} is no view of obj_id={entry['obj_id']}")
    return str(entry["path"]), view, str(entry.get("caption") or "")


def _categories(root: Path, table: Path | None) -> dict[str, str]:
    if table:
        return read_categories(table, "uid", "source_id")
    return read_categories(root / OBJECTS, "uid", "source_id") if (root / OBJECTS).is_file() else {}


def _object(source_id: str, metadata: Path, category: str, license_of_all: str | None) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, source_id),
        source=SOURCE,
        source_id=source_id,
        name=source_id.rpartition("/")[2],
        asset=str(metadata),
        license=license_of_all,
        creator=None,
        source_url=None,
    )
    return SelectedObject(record, category)
