"""Read the table that says what a folder's pictures show: metadata.csv, .jsonl or .parquet."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mvcap.errors import AssetFolderError

TABLES: Final = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Names as in the `imagefolder` layout of the `datasets` library."""
FILE_NAME: Final = "file_name"
CATEGORY: Final = "category"
COLUMNS: Final = (FILE_NAME, CATEGORY, "uid", "view_index", "license", "creator", "source_url")
"""What is read; a table may have further columns, which are left out."""


@dataclass(frozen=True, slots=True)
class PictureRow:
    """What is said about one picture; None where nothing is."""

    file_name: str
    """Relative to the folder, with `/`; any text: a path only where the folder is known to hold it."""
    category: str | None = None
    uid: str | None = None
    view_index: int | None = None
    license: str | None = None
    creator: str | None = None
    source_url: str | None = None


def find_table(root: Path) -> Path | None:
    """Return the folder's table, or None where there is none.

    Raises:
        AssetFolderError: there is more than one.
    """
    found = [root / name for name in TABLES if (root / name).is_file()]
    if len(found) > 1:
        named = " and ".join(path.name for path in found)
        raise AssetFolderError(f"{root} holds {named}; keep the one that counts")
    return found[0] if found else None


def read_table(path: Path) -> list[PictureRow]:
    """Read every row; lines without a file name are left out.

    Raises:
        AssetFolderError: the table cannot be read, lacks `file_name`, or holds a view index that is none.
    """
    try:
        return [row for values in _READERS[path.suffix](path) if (row := _row(values, path))]
    except (OSError, ValueError, csv.Error) as error:  # json and pyarrow raise ValueErrors
        raise AssetFolderError(f"cannot read {path}: {error}") from error


def _row(values: Mapping[str, Any], path: Path) -> PictureRow | None:
    if FILE_NAME not in values:
        raise AssetFolderError(f"{path} must have the column {FILE_NAME}; it has {', '.join(values)}")
    texts = {name: str(values[name]).strip() for name in COLUMNS if values.get(name) is not None}
    if not texts.get(FILE_NAME):
        return None
    index = texts.pop("view_index", "")
    if index and not (index.isascii() and index.isdecimal() and int(index) < 2**31):
        raise AssetFolderError(f"{path}: view_index={index!r} of {texts[FILE_NAME]!r} is no whole number")
    texts[FILE_NAME] = PurePosixPath(texts[FILE_NAME]).as_posix()
    filled: dict[str, Any] = {name: text for name, text in texts.items() if text}
    return PictureRow(**filled, view_index=int(index) if index else None)


def _csv(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            if any(row.pop(None, ())):
                raise AssetFolderError(
                    f"{path}, line {reader.line_num}: more cells than columns; quote commas"
                )
            yield row


def _jsonl(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise AssetFolderError(f"{path}, line {number}: not a JSON object")
                yield row


def _parquet(path: Path) -> Iterable[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        present = [name for name in COLUMNS if name in file.schema_arrow.names]
        rows: list[dict[str, Any]] = file.read(columns=present).to_pylist()
    return rows


_READERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
