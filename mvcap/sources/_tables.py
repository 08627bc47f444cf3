"""Tables that say of what category things are, in the formats in which people have them."""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mvcap.errors import AssetFolderError
from mvcap.sources._names import clean_name

CATEGORY: Final = "category"
LARGEST_JSON_BYTES: Final = 2**30
"""Unpacked; the LVIS annotations of Objaverse have 2 MB."""


def read_categories(path: Path, key: str) -> dict[str, str]:
    """Read what category each thing is of.

    Args:
        path: `.csv` or `.parquet` with the columns `key` and `category`, or `.json` or `.json.gz` that maps each
            category to a list of things, as Objaverse's LVIS annotations do; those names are cleaned.
        key: the column that names the thing, such as `uid`.

    Raises:
        AssetFolderError: it cannot be read, lacks a column, or gives one thing two categories.
    """
    path = path.expanduser()
    categories: dict[str, str] = {}
    try:
        for thing, category in _pairs(path, key):
            if thing and category and categories.setdefault(thing, category) != category:
                raise AssetFolderError(f"{path} says of {thing!r} {categories[thing]!r} and {category!r}")
    except (OSError, ValueError, csv.Error, EOFError) as error:  # json, gzip and pyarrow raise these
        raise AssetFolderError(f"cannot read {path}: {error}") from error
    return categories


def _pairs(path: Path, key: str) -> Iterator[tuple[str, str]]:
    if path.name.endswith((".json", ".json.gz")):
        for category, things in _json(path).items():
            yield from ((str(thing).strip(), clean_name(category)) for thing in things)
        return
    rows = _parquet(path, key) if path.suffix == ".parquet" else _csv(path, key)
    for row in rows:
        yield str(row[key] or "").strip(), str(row[CATEGORY] or "").strip()


def _json(path: Path) -> Mapping[str, list[Any]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        data = file.read(LARGEST_JSON_BYTES + 1)
    if len(data) > LARGEST_JSON_BYTES:
        raise ValueError(f"more than {LARGEST_JSON_BYTES} bytes")
    content = json.loads(data)
    if not isinstance(content, dict) or not all(isinstance(things, list) for things in content.values()):
        raise ValueError("it maps no categories to lists")
    return content


def _csv(path: Path, key: str) -> Iterable[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        _require_columns(path, key, reader.fieldnames or ())
        yield from reader


def _parquet(path: Path, key: str) -> Iterable[Mapping[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        _require_columns(path, key, file.schema_arrow.names)
        rows: list[dict[str, Any]] = file.read(columns=[key, CATEGORY]).to_pylist()
    return rows


def _require_columns(path: Path, key: str, names: Iterable[str]) -> None:
    if missing := {key, CATEGORY} - set(names):
        raise AssetFolderError(
            f"{path} lacks the column {', '.join(sorted(missing))}; it has {', '.join(names)}"
        )
