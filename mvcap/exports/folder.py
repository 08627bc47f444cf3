"""A folder for each split and category, as torchvision's `ImageFolder` and `datasets`' `imagefolder` read it.

    objects.parquet               who made the objects, under which licence
    train/metadata.parquet        a row for each picture: `file_name` and every column that holds no picture
    train/office chair/UID_000.jpg

Folders are called as their categories where these are plain lower-case words, else by a slug with a hash:
`metadata.parquet` has the category itself. Masks, depths and normals stay behind, for readers would take them
for pictures of the category.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from mvcap.exports._chosen import ChosenViews, plain_columns
from mvcap.exports._names import folder_name
from mvcap.rows import picture_suffix
from mvcap.schema import PICTURES, VIEW_SCHEMA
from mvcap.tables import TableWriter

ROWS_PER_GROUP: Final = 10_000
COLUMNS: Final = pa.schema(
    [
        pa.field("file_name", pa.string(), nullable=False),
        *(column for column in VIEW_SCHEMA if column.name not in PICTURES),
    ]
)
"""The table has types of its own, for `datasets` refuses splits whose columns seem to differ: of JSON lines,
a column that is null in all of one split has another type than in the next."""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def export(chosen: ChosenViews, folder: Path, options: Options) -> int:
    """Write the pictures as they are stored, and their metadata."""
    views = 0
    with ExitStack() as stack:
        metadata: dict[str, _Metadata] = {}
        for uid, rows in chosen.objects():
            split, category = rows[0]["split"], folder_name(rows[0]["category"])
            (folder / split / category).mkdir(parents=True, exist_ok=True)
            if split not in metadata:
                metadata[split] = stack.enter_context(_Metadata(folder / split / "metadata.parquet"))
            for row in rows:
                stored = row["image"]["bytes"]
                name = f"{category}/{uid}_{row['view_index']:03d}.{picture_suffix(stored)}"
                (folder / split / name).write_bytes(stored)
                metadata[split].write({"file_name": name} | plain_columns(row))
                views += 1
    return views


class _Metadata:
    """The table of one split, written some thousand rows at a time."""

    def __init__(self, path: Path) -> None:
        self._writer = TableWriter(path, COLUMNS)
        self._rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write(self._rows)
        self._rows.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writer:
            self._flush()
