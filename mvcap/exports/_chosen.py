"""The views of a dataset that an export writes: of one split or all, under some licences or any.

They are read shard by shard and object by object, so memory does not depend on how many there are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mvcap import files, schema
from mvcap.commits import CAPTION
from mvcap.errors import CorruptDatasetError, UnfinishedError, UsageError
from mvcap.plan import Plan
from mvcap.storage import Store
from mvcap.tables import TableWriter, open_table

UNKNOWN_LICENSE: Final = "unknown"
"""What cards and options call the licence of objects whose source names none."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which views are wanted."""

    split: str | None = None
    licenses: frozenset[str] = frozenset()
    """As the dataset spells them, in any case, or `unknown`; empty for all."""
    duplicates: bool = True
    """Whether objects count that look like an earlier one: those of which `duplicate_of` is not null."""

    @property
    def everything(self) -> bool:
        return self == Choice()

    def keeps(self, row: Row) -> bool:
        """Tell whether an object is wanted, by any row of it."""
        allowed = {name.casefold() for name in self.licenses}
        return (
            self.split in (None, row["split"])
            and (not allowed or _license(row).casefold() in allowed)
            and (self.duplicates or row["duplicate_of"] is None)
        )


DECIDING: Final = ("split", "license", "duplicate_of")
"""The columns that a choice looks at; they are the same for all views of an object."""


@dataclass(slots=True)
class Counts:
    """What is among the chosen views, and which licences and splits there were to choose from."""

    views: int = 0
    uncaptioned: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    licenses: set[str] = field(default_factory=set)
    splits: set[str] = field(default_factory=set)


class ChosenViews:
    """The chosen views of a dataset whose shards are all committed.

    Raises:
        UsageError: there are none.
        CorruptDatasetError: a file cannot be read.
    """

    def __init__(self, store: Store, plan: Plan, choice: Choice) -> None:
        self.root = store.root
        self._store = store
        self._plan = plan
        self._choice = choice
        self.counts = self._count()
        if not self.counts.views:
            raise UsageError(f"nothing to export: {self._why_nothing()}")

    @property
    def categories(self) -> list[str]:
        """Every category that has a view, sorted."""
        return sorted(self.counts.categories)

    def require_captions(self) -> None:
        """Refuse views whose captions are null.

        Raises:
            UsageError: there are some.
        """
        if missing := self.counts.uncaptioned:
            raise UsageError(
                f"{missing} of {self.counts.views} views have no captions yet: "
                f"run `mvcap caption {self.root}` first"
            )

    def objects(self, columns: Sequence[str] | None = None) -> Iterator[tuple[str, list[Row]]]:
        """Yield the uid and rows of each object, in the plan's order."""
        for table in self.tables(columns):
            rows = table.to_pylist()
            yield rows[0]["uid"], rows

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield a table for each object, in the plan's order; what an older version did not have is null."""
        wanted = list(dict.fromkeys(["uid", *(columns or schema.VIEW_SCHEMA.names)]))
        return self._tables(wanted, self._choice)

    def write_attribution(self, folder: Path) -> None:
        """Write the rows of `objects.parquet` whose objects are chosen: who made them, under which licence.

        Raises:
            UnfinishedError: the dataset has none yet.
        """
        if not files.exists(self.root / schema.OBJECTS):
            raise UnfinishedError(self.root)
        with (
            open_table(self.root / schema.OBJECTS) as file,
            TableWriter(folder / schema.OBJECTS, schema.OBJECT_SCHEMA) as out,
        ):
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group).to_pylist()
                out.write([row for row in rows if row["views"] and self._choice.keeps(_complete(row))])

    def _tables(self, columns: Sequence[str], choice: Choice) -> Iterator[pa.Table]:
        """Read the files one after the other, and of objects that are not chosen only what decides that."""
        for shard in self._plan.shards:
            commit = self._store.find_commit(CAPTION, shard)
            if commit is None or commit.file is None or choice.split not in (None, shard.split):
                continue
            try:
                with open_table(self.root / commit.file) as file:
                    schema.check_version(file.schema_arrow, commit.file)
                    for group in range(file.num_row_groups):
                        if choice.everything or choice.keeps(_first_row(_read(file, group, DECIDING))):
                            yield _read(file, group, columns)
            except (OSError, pa.ArrowException) as error:
                raise CorruptDatasetError(
                    f"{commit.file} cannot be read: {error}; run `mvcap verify`"
                ) from error

    def _count(self) -> Counts:
        """Look at every view once, and at no picture."""
        counts = Counts(splits={shard.split for shard in self._plan.shards})
        for table in self._tables([*DECIDING, "category", "caption"], Choice(self._choice.split)):
            row = _first_row(table)
            counts.licenses.add(_license(row))
            if self._choice.keeps(row):
                counts.views += table.num_rows
                counts.uncaptioned += table["caption"].null_count
                counts.categories[row["category"]] += table.num_rows
        return counts

    def _why_nothing(self) -> str:
        choice, counts = self._choice, self.counts
        if choice.split not in (None, *counts.splits):
            return f"no views of split {choice.split!r} (splits: {', '.join(sorted(counts.splits))})"
        if choice.licenses:
            wanted, present = sorted(choice.licenses), sorted(counts.licenses)
            return f"no views under {', '.join(wanted)} (licences: {', '.join(present) or 'none'})"
        return "no views" if choice.split is None else f"no views of split {choice.split!r}"


def _read(file: pq.ParquetFile, group: int, columns: Sequence[str]) -> pa.Table:
    present = [name for name in columns if name in file.schema_arrow.names]
    table = file.read_row_group(group, columns=present)
    for name in columns:
        if name not in present:
            column = schema.VIEW_SCHEMA.field(name)
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    return table.select(columns)


def _first_row(table: pa.Table) -> Row:
    row: Row = table.slice(0, 1).to_pylist()[0]
    return row


def _complete(row: Row) -> Row:
    """Add what an older version's table of objects does not say."""
    return {"duplicate_of": None} | row


def _license(row: Row) -> str:
    return row["license"] or UNKNOWN_LICENSE


def plain_columns(row: Row) -> Row:
    """Return what a row says besides its pictures."""
    return {name: value for name, value in row.items() if name not in schema.PICTURES}
