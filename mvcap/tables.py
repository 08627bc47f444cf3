"""Parquet files laid out for training: one row group for each object, images stored as they are."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from mvcap import files
from mvcap.places import Place


class TableWriter:
    """Write groups of rows to a Parquet file.

    Whole objects are read 5x faster with one row group for each object than with 500 rows (measured).
    JPEGs do not compress further; the other columns are dictionary-encoded and zstd-compressed.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression=_compression(schema),
            use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
            write_page_index=True,
            write_page_checksum=True,
            use_content_defined_chunking=True,
        )

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows as one row group; a missing column is null."""
        self.write_table(pa.Table.from_pylist(list(rows), schema=self._schema))

    def write_table(self, table: pa.Table) -> None:
        """Write a table as one row group; an empty one is left out."""
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
            self.rows += table.num_rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


@contextmanager
def open_table(place: Place) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file; its pages are checked against their checksums as they are read."""
    far = not isinstance(place, Path)  # there, what is read together is fetched together
    with (
        files.open_input(place) as source,
        pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=far) as file,
    ):
        yield file


def read_table(
    place: Place, *, columns: list[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
) -> pa.Table:
    """Read columns and rows of a Parquet file, as `pyarrow.parquet.read_table` does."""
    with files.open_input(place) as source:
        return pq.read_table(source, columns=columns, filters=filters, page_checksum_verification=True)


def filled_rows(place: Place, column: str) -> int:
    """Count the rows whose plain column is not null, from a file's footer alone."""
    with open_table(place) as file:
        metadata = file.metadata
    leaf = next(
        index for index in range(metadata.num_columns) if metadata.schema.column(index).path == column
    )
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    return sum(group.num_rows - group.column(leaf).statistics.null_count for group in groups)


def _compression(schema: pa.Schema) -> dict[str, str]:
    """Choose a codec for every leaf column, in Parquet's own names."""
    chosen: dict[str, str] = {}
    for field in schema:
        if pa.types.is_struct(field.type):
            chosen |= {f"{field.name}.{inner.name}": _codec(inner.type) for inner in field.type}
        elif pa.types.is_list(field.type):
            chosen[f"{field.name}.list.element"] = "zstd"
        else:
            chosen[field.name] = _codec(field.type)
    return chosen


def _codec(kind: pa.DataType) -> str:
    return "none" if pa.types.is_binary(kind) else "zstd"
