"""Any folder of pictures: nothing is rendered, they are captioned as they are.

What they show comes from a table in the style of the `datasets` library's `imagefolder`, `metadata.csv`,
`.jsonl` or `.parquet`, with the columns `file_name` and `category`, and optionally `uid` and `view_index`
(pictures of one object share a uid), `license`, `creator` and `source_url`. Without a table, or without a
category in it, a picture's category is the name of its sub-folder.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from mvcap.categories import has_word
from mvcap.config import OPERATIONAL, AbsolutePath
from mvcap.errors import BAD_ASSET, AssetFolderError
from mvcap.pictures import FileContent, FindPictures, Picture, UnusableInputError
from mvcap.plan import make_uid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._folders import is_utf8, readable_folder, walk_files
from mvcap.sources._listing import reject
from mvcap.sources._picture_tables import PictureRow, find_table, read_table

SOURCE = "images"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})


class Options(BaseModel):
    """Options of the `images` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[AbsolutePath, OPERATIONAL]
    license: Annotated[str | None, OPERATIONAL] = None
    """Licence of every picture that has none of its own in the table."""


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List every object that has pictures, in the order of uids or else of file names.

    Rejected as `bad_asset` are what only the table names, pictures that only the table leaves out, names
    that no table could hold, and categories without a word.

    Raises:
        AssetFolderError: the folder or its table cannot be read, or the table contradicts itself.
    """
    folder = _Folder.open(options.path)
    for source_id, rows in folder.objects.items():
        present = [path for row in rows if (path := folder.files.get(row.file_name))]
        category = rows[0].category or _folder_name(rows[0].file_name)
        if not present:
            yield reject(
                SOURCE, source_id, f"the table names {source_id!r}, which is no file in {folder.root}"
            )
        elif not all(map(is_utf8, present)):
            yield reject(SOURCE, source_id, f"the path {source_id!r} is not UTF-8; rename it")
        elif not has_word(category):
            yield reject(SOURCE, source_id, f"{source_id!r} has no category: name one in the table")
        else:
            yield _object(source_id, present[0], category, rows[0], options.license)
    for name in folder.unnamed:
        yield reject(SOURCE, name, f"the table has no row for {name!r}")


def open_pictures(options: Options) -> FindPictures:
    """Return what finds an object's pictures, by view index; those that are no file have no content.

    Raises:
        AssetFolderError: as `list_objects`.
    """
    folder = _Folder.open(options.path)

    def find(item: SelectedObject) -> list[Picture]:
        if (rows := folder.objects.get(item.record.source_id)) is None:
            raise UnusableInputError(BAD_ASSET, f"{item.record.source_id!r} is no longer there")
        return [_picture(row, folder.files.get(row.file_name)) for row in rows]

    return find


def expected_views(options: Options) -> Callable[[SelectedObject], int]:
    """Return what counts an object's pictures."""
    objects = _Folder.open(options.path).objects
    return lambda item: len(objects.get(item.record.source_id, ()))


def _picture(row: PictureRow, path: Path | None) -> Picture:
    return Picture(row.view_index or 0, row.file_name, FileContent(path) if path else None)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder's files and what is said about them."""

    root: Path
    files: dict[str, Path]
    """Relative name -> path: only what was found here is ever opened, whatever a table names."""
    objects: dict[str, list[PictureRow]]
    """The source's own id of each object -> its pictures, by view index, which all have."""
    unnamed: list[str]
    """Pictures that the table has no row for."""

    @classmethod
    def open(cls, path: Path) -> "_Folder":
        root = readable_folder(path, "pictures")
        table = find_table(root)
        files = {file.relative_to(root).as_posix(): file for file in walk_files(root)}
        pictures = sorted(name for name, file in files.items() if file.suffix.lower() in SUFFIXES)
        rows = read_table(table) if table else [PictureRow(name) for name in pictures]
        named = {row.file_name for row in rows}
        objects = _grouped(rows, table or root)
        return cls(root, files, objects, [name for name in pictures if name not in named])


def _grouped(rows: list[PictureRow], where: Path) -> dict[str, list[PictureRow]]:
    """Gather the pictures of each object; those without a view index are numbered by their names.

    Raises:
        AssetFolderError: two rows contradict each other.
    """
    groups: dict[str, dict[str, PictureRow]] = {}
    for row in rows:
        group = groups.setdefault(row.uid or row.file_name, {})
        if group.setdefault(row.file_name, row) != row:
            raise AssetFolderError(f"{where} names {row.file_name!r} twice: {group[row.file_name]} and {row}")
    return {source_id: _numbered(list(groups[source_id].values()), where) for source_id in sorted(groups)}


def _numbered(rows: list[PictureRow], where: Path) -> list[PictureRow]:
    """Give every picture of an object an index of its own.

    Raises:
        AssetFolderError: two have the same, some have none, or they are of different categories.
    """
    given = {row.view_index for row in rows}
    if given == {None}:
        ordered = sorted(rows, key=lambda row: row.file_name)
        rows = [replace(row, view_index=index) for index, row in enumerate(ordered)]
    elif None in given or len(given) < len(rows):
        raise AssetFolderError(
            f"{where}: the pictures of {rows[0].uid!r} need a view_index each, and no two the same: "
            f"{[(row.file_name, row.view_index) for row in rows[:6]]}"
        )
    if len(categories := {row.category for row in rows}) > 1:
        raise AssetFolderError(
            f"{where}: the pictures of {rows[0].uid!r} have several categories: {categories}"
        )
    return sorted(rows, key=lambda row: row.view_index or 0)


def _folder_name(file_name: str) -> str:
    return re.sub(r"[\W_]+", " ", Path(file_name).parent.name).strip()


def _object(
    source_id: str, path: Path, category: str, row: PictureRow, license_of_all: str | None
) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, source_id),
        source=SOURCE,
        source_id=source_id,
        name=path.stem,
        asset=str(path),
        license=row.license or license_of_all,
        creator=row.creator,
        source_url=row.source_url,
    )
    return SelectedObject(record, category)
