"""The tables that `mvcap filter` writes: selected objects, and rejected ones with their reasons."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
"""`reason` is one of `mvcap.selection.VERDICTS`, or `duplicate`."""


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


def write_selected(path: Path, table: pa.Table, *, about: str) -> None:
    """Write selected objects, a table of `SELECTED_SCHEMA`; `about` is kept with them."""
    _write(path, table, SELECTED_SCHEMA.with_metadata({"mvcap_filter": about}))


def write_left_out(path: Path, table: pa.Table) -> None:
    """Write what was not selected, a table of `LEFT_OUT_SCHEMA`."""
    _write(path, table, LEFT_OUT_SCHEMA)


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


def _write(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    with files.staged(path) as temporary, TableWriter(temporary, schema) as writer:
        for start in range(0, table.num_rows, ROWS_PER_GROUP):
            writer.write_table(table.slice(start, ROWS_PER_GROUP).cast(schema))
