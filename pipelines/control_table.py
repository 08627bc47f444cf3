"""Where the captions of a control lie, and what they say: kept apart from the dataset's own captions."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from mvcap import files, schema
from mvcap.commits import CAPTION
from mvcap.places import Place
from mvcap.plan import Plan
from mvcap.records import CategoryMatch
from mvcap.report.captions import ControlFigures
from mvcap.storage import Store
from mvcap.tables import TableWriter, open_table, read_table

COLUMNS: Final = [
    pa.field("uid", pa.string(), nullable=False),
    pa.field("view_index", pa.int32(), nullable=False),
    pa.field("category", pa.string(), nullable=False),
    pa.field("guided", pa.string(), nullable=False),
    pa.field("guided_match", pa.string()),
    pa.field("unguided", pa.string()),
    pa.field("unguided_match", pa.string()),
]


@dataclass(frozen=True, slots=True)
class Pair:
    """The two captions of one view, and how each names the category (None: it does not)."""

    uid: str
    view_index: int
    category: str
    guided: str
    guided_match: CategoryMatch | None
    unguided: str | None
    """None where the captioner wrote nothing."""
    unguided_match: CategoryMatch | None


@dataclass(frozen=True, slots=True)
class ControlKey:
    """What a control was made for; another one has to be made anew."""

    settings: str
    """Hash of the settings of the dataset's own captions."""
    prompt: str
    views: int
    """How many were asked for."""


def control_path(store: Store) -> Place:
    return store.internal / "controls" / "unguided.parquet"


def write_pairs(store: Store, key: ControlKey, pairs: Sequence[Pair]) -> None:
    """Write a control, replacing an earlier one."""
    facts = {name: str(value) for name, value in asdict(key).items()}
    kind = pa.schema(COLUMNS, {"mvcap_schema": str(schema.SCHEMA_VERSION), **facts})
    with files.staged(control_path(store)) as path, TableWriter(path, kind) as writer:
        writer.write([asdict(pair) for pair in pairs])


def read_key(store: Store) -> ControlKey | None:
    """Read what the present control was made for; None where there is none that can be read."""
    try:
        with open_table(control_path(store)) as file:
            facts = file.schema_arrow.metadata or {}
        return ControlKey(facts[b"settings"].decode(), facts[b"prompt"].decode(), int(facts[b"views"]))
    except (OSError, pa.ArrowException, LookupError, ValueError):
        return None


def forget_objects(store: Store, uids: Collection[str]) -> None:
    """Take all captions of some objects out of the present control, if there is one."""
    if not files.exists(control_path(store)):
        return
    table = read_table(control_path(store))
    kept = pc.invert(pc.is_in(table["uid"], value_set=pa.array(sorted(uids), pa.string())))
    with files.staged(control_path(store)) as path, TableWriter(path, table.schema) as writer:
        writer.write_table(table.filter(kept))


def read_figures(store: Store, plan: Plan) -> ControlFigures | None:
    """Count the present control; None where there is none for the dataset's present captions."""
    key = read_key(store)
    commits = store.read_commits(plan, CAPTION)
    if key is None or any(commit.settings != key.settings for commit in commits):
        return None
    table = read_table(control_path(store), columns=["guided_match", "unguided_match"])
    if not table.num_rows:
        return None
    guided, unguided = (1 - column.null_count / table.num_rows for column in table.itercolumns())
    return ControlFigures(table.num_rows, guided, unguided)
