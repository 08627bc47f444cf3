"""Commit a shard once more with other rows than it has, as the next generation; pictures keep their bytes."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import pyarrow as pa

from mvcap import schema
from mvcap.commits import Commit
from mvcap.plan import Shard
from mvcap.rows import in_present_schema
from mvcap.storage import Store
from mvcap.tables import TableWriter

OF_THE_FILE: Final = frozenset(
    {"stage", "shard", "generation", "file", "temporary", "sha256", "bytes", "dropped", "schema_version"}
)
"""Fields of a record that another file has otherwise."""


def rewrite_shard(
    store: Store,
    shard: Shard,
    commit: Commit,
    change: Callable[[pa.Table], pa.Table | None],
    **facts: Any,
) -> Commit:
    """Write a committed file anew, a row group at a time, and commit it.

    Args:
        change: gets each object's rows, in the present schema, and returns those to write, if any.
        facts: fields of the record that are different now; all others stay as they are.
    """
    with store.stage_file(commit.stage, shard) as temporary:
        with TableWriter(temporary, schema.VIEW_SCHEMA) as writer:
            for table in store.read_rows(commit):
                if (changed := change(in_present_schema(table))) is not None:
                    writer.write_table(changed)
        return store.commit(
            commit.stage,
            shard,
            temporary if writer.rows else None,
            generation=commit.generation + 1,
            **(carried(commit) | facts),
        )


def carried(commit: Commit) -> dict[str, Any]:
    """Return what the record of a rewritten file says as before."""
    return {each.name: getattr(commit, each.name) for each in fields(commit) if each.name not in OF_THE_FILE}
