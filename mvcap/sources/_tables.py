"""Tables that say of what category things are, in the formats in which people have them."""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mvcap.class_names import clean_name
from mvcap.errors import AssetFolderError

CATEGORY: Final = "category"
LARGEST_JSON_BYTES: Final = 2**30
"""Unpacked; the LVIS annotations of Objaverse have 2 MB."""


def read_categories(path: Path, *keys: str) -> dict[str, str]:
    """Read what category each thing is of.

    Args:
        path: `.csv` or `.parquet` with the columns `category` and one of `keys`, or `.json` or `.json.gz`
            that maps each category to a list of things, as Objaverse's LVIS annotations do; those names
            are cleaned.
        keys: columns that may name the thing, such as `uid`; the first that is there counts.

    Raises:
        AssetFolderError: it cannot be read, lacks a column, or gives one thing two categories.
    """
    path = path.expanduser()
    categories: dict[str, str] = {}
    try:
        for thing, category in _pairs(path, keys):
            if thing and category and categories.setdefault(thing, category) != category:
                raise AssetFolderError(f"{path} says of {thing!r} {categories[thing]!r} and {category!r}")
    except (OSError, ValueError, csv.Error, EOFError, zlib.error) as error:  # of json, gzip, pyarrow too
        raise AssetFolderError(f"cannot read {path}: {error}") from error
    return categories


def _pairs(path: Path, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    if path.name.endswith((".json", ".json.gz")):
        for category, things in _json(path).items():
            yield from ((str(thing).strip(), clean_name(category)) for thing in things)
        return
    for thing, category in _parquet(path, keys) if path.suffix == ".parquet" else _csv(path, keys):
        yield str(thing or "").strip(), str(category or "").strip()


def _json(path: Path) -> Mapping[str, list[Any]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        data = file.read(LARGEST_JSON_BYTES + 1)
    if len(data) > LARGEST_JSON_BYTES:
        raise ValueError(f"more than {LARGEST_JSON_BYTES} bytes")
    content = json.loads(data)
    if not isinstance(content, dict) or not all(isinstance(things, list) for things in content.values()):
        raise ValueError("it maps no categories to lists")
    return content


def _csv(path: Path, keys: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        key = _key_column(path, keys, reader.fieldnames or ())
        yield from ((row[key], row[CATEGORY]) for row in reader)


def _parquet(path: Path, keys: Sequence[str]) -> Iterator[tuple[Any, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        key = _key_column(path, keys, file.schema_arrow.names)
        for batch in file.iter_batches(columns=[key, CATEGORY]):
            yield from zip(*(batch[name].to_pylist() for name in (key, CATEGORY)), strict=True)


def _key_column(path: Path, keys: Sequence[str], names: Sequence[str]) -> str:
    found = next((key for key in keys if key in names), None)
    if found is None or CATEGORY not in names:
        wanted = f"{CATEGORY} and {' or '.join(keys)}"
        raise AssetFolderError(f"{path} must have the columns {wanted}; it has {', '.join(names)}")
    return found
