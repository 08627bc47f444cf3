"""The tables that `mvcap filter` writes: selected objects, and rejected ones with their reasons."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mvcap import files
from mvcap.errors import AssetFolderError
from mvcap.tables import TableWriter

ROWS_PER_GROUP: Final = 50_000

_COLUMNS: Final = [
    ("source_id", pa.string()),
    ("category", pa.string()),
    ("similarity", pa.float32()),
    ("second_category", pa.string()),
    ("margin", pa.float32()),
]
SELECTED_SCHEMA: Final = pa.schema(_COLUMNS)
LEFT_OUT_SCHEMA: Final = pa.schema([*_COLUMNS, ("reason", pa.string())])


@dataclass(frozen=True, slots=True)
class SelectedRow:
    """An object and its nearest categories."""

    source_id: str
    """As its source names it."""
    category: str
    """As a prompt says it."""
    similarity: float | None
    """Cosine in [-1, 1]; None where the object's embedding is none."""
    second_category: str | None
    """None where there is one category only."""
    margin: float | None
    """By how much `category` is nearer than `second_category`."""


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    """An object that was not selected."""

    row: SelectedRow
    reason: str
    """One of `mvcap.selection.VERDICTS`."""


def write_selected(path: Path, rows: Iterable[SelectedRow], *, about: str) -> int:
    """Write selected objects, in order, and return how many; `about` is kept with them."""
    schema = SELECTED_SCHEMA.with_metadata({"mvcap_filter": about})
    return _write(path, schema, (asdict(row) for row in rows))


def write_left_out(path: Path, rows: Iterable[LeftOutRow]) -> int:
    """Write what was not selected, in order, and return how many."""
    return _write(path, LEFT_OUT_SCHEMA, (asdict(item.row) | {"reason": item.reason} for item in rows))


def read_selection(path: Path) -> list[SelectedRow]:
    """Read what `write_selected` wrote.

    Raises:
        AssetFolderError: it cannot be read, is another table, or names an object twice.
    """
    try:
        table = pq.read_table(path.expanduser(), columns=SELECTED_SCHEMA.names)
    except (OSError, pa.ArrowException) as error:
        raise AssetFolderError(
            f"cannot read the selection {path}: {error}; `mvcap filter --out {path}` writes one"
        ) from error
    rows = [SelectedRow(**row) for row in table.to_pylist()]
    if any(not row.source_id or not row.category for row in rows):
        raise AssetFolderError(f"the selection {path} has rows without source_id or category")
    seen: dict[str, SelectedRow] = {}
    for row in rows:
        if (other := seen.setdefault(row.source_id, row)) is not row:
            raise AssetFolderError(f"the selection {path} names an object twice: {other} and {row}")
    return rows


def _write(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> int:
    remaining = iter(rows)
    with files.staged(path) as temporary, TableWriter(temporary, schema) as writer:
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            writer.write(group)
    return writer.rows
