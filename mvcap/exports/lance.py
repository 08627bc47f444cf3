"""A folder of Lance, for `lance.dataset` and LanceDB: every column of the data, and fast random access.

views.lance       a row for each view, as in the dataset's Parquet files, pictures as they are stored
objects.parquet   who made the objects, under which licence
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import lance
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from mvcap.errors import CorruptDatasetError
from mvcap.exports._chosen import ChosenViews
from mvcap.schema import VIEW_SCHEMA

FILE_BYTES: Final = 2**28
"""A file of the table ends after so many: pylance 14 keeps pictures of more than 1 MiB in memory until then
(measured: 0.75 bytes for each byte written)."""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def export(chosen: ChosenViews, folder: Path, options: Options) -> int:
    """Write the views as one table in one transaction."""
    damage: list[CorruptDatasetError] = []
    batches = pa.RecordBatchReader.from_batches(VIEW_SCHEMA, _batches(chosen, damage))
    try:
        table = lance.write_dataset(batches, folder / "views.lance", max_bytes_per_file=FILE_BYTES)
        return int(table.count_rows())
    except (OSError, ValueError, RuntimeError) as error:
        if damage:
            raise damage[0] from error
        raise


def _batches(chosen: ChosenViews, damage: list[CorruptDatasetError]) -> Iterator[pa.RecordBatch]:
    """Yield all views, and keep what Lance would tell as an error of its own."""
    try:
        for table in chosen.tables():
            yield from table.cast(VIEW_SCHEMA).to_batches()
    except CorruptDatasetError as error:
        damage.append(error)
        raise
