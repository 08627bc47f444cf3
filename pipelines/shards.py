"""One shard of one stage: read it, let the worker do its part, commit the result."""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from mvcap import fault_points, files, schema
from mvcap.commits import CAPTION, RENDER, Commit, StageName
from mvcap.errors import CRASH
from mvcap.places import Place
from mvcap.plan import Plan, Shard
from mvcap.records import CaptionedView, Rejected, SelectedObject, View
from mvcap.redaction import redacted
from mvcap.report.sheets import write_contact_sheet
from mvcap.rows import asset_row, caption_columns, view_from_row, view_row
from mvcap.storage import Store
from mvcap.tables import TableWriter
from pipelines.kept import Kept
from pipelines.ledger import Assignment
from pipelines.stages import ShardReport, Stage, Worker
from pipelines.suspects import Culprit
from pipelines.worker_log import SHARD

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]
"""Called with the number of records just put out; may raise to stop the work."""


class ShardWorker:
    """A stage's worker with the dataset around it: what a thread or an actor holds.

    The plan is read once for each worker; a run never changes it.
    """

    def __init__(self, stage: Stage[Any, Any], root: Place, *, drop_views: bool) -> None:
        self.stage = stage
        self._store = Store(root, stage.guard)
        self._plan: Plan = self._store.require_plan()
        self._removed = frozenset(self._store.read_removals())
        self._drop_views = drop_views
        self._opened: AbstractContextManager[Worker[Any, Any]] | None = None
        self._worker: Worker[Any, Any] | None = None

    def __enter__(self) -> Self:
        self._opened = self.stage.make_worker()
        self._worker = self._opened.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened:
            self._opened.__exit__(kind, error, trace)

    def run(self, assignment: Assignment, progress: Progress) -> ShardReport | None:
        """Do and commit one shard, and return counts only; None of an object that was tried alone."""
        assert self._worker is not None, "enter the ShardWorker first"
        shard = self._plan.shards[assignment.shard]
        SHARD.set(shard.index)
        if assignment.alone:
            kept = Kept.find(self._store, shard, self.stage)
            for _ in self._worker(self._inputs(shard, kept, lambda uid: uid == assignment.alone)):
                pass  # what counts is that the worker outlives it
            return None
        return self._commit(shard, assignment.culprits, progress)

    def _commit(self, shard: Shard, culprits: Sequence[Culprit], progress: Progress) -> ShardReport:
        assert self._worker is not None
        started = time.monotonic()
        busy_before = self._worker.busy_s
        generation = self._store.next_generation(self.stage.name, shard)
        kept = Kept.find(self._store, shard, self.stage)
        rendered = self._store.read_commit(RENDER, shard.index) if self.stage.name == CAPTION else None
        left_out = {culprit.uid for culprit in culprits}
        notes = Notes([_reject(culprit, self.stage.name) for culprit in culprits])
        inputs = self._inputs(shard, kept, lambda uid: uid not in left_out)
        outputs = _noted(self._worker(inputs), kept, notes, progress)
        with self._store.stage_file(self.stage.name, shard) as temporary:
            rows = self._write(outputs, shard, kept, temporary)
            file = temporary if rows else None
            done: dict[str, Any] = {
                "settings": self.stage.settings,
                "rows": sum(rows.values()),
                "views": rows,
                "rejected": tuple(map(_without_secrets, notes.rejected)),
                "assets": notes.assets,
                "made_by": dict(self._worker.made_by),
                "seconds": round(time.monotonic() - started, 3),
                "committed_at": round(time.time(), 3),
                "object_seconds": notes.rounded_seconds() if self.stage.name == RENDER else {},
                "rendered": rendered.generation if rendered else None,
            }
            facts = kept.facts(done)
            if self.stage.name == CAPTION:
                # Before the commit: once all shards are committed, another slice may read the sheets.
                files.delete(self._store.sheet_path(shard))
            commit = self._store.commit(self.stage.name, shard, file, generation=generation, **facts)
            if commit.uncaptioned and commit.settings != self.stage.settings:
                # Another slice labelled duplicates among the rows that had no captions yet.
                commit = self._store.commit(self.stage.name, shard, file, **facts)
        if self.stage.name == CAPTION:
            self._after_captions(shard, commit)
        seconds = time.monotonic() - started
        counts = {"rows": commit.rows, "bytes": commit.bytes, "rejected": len(commit.rejected)}
        logger.info("committed", extra={"event": "shard_committed", "seconds": seconds, "facts": counts})
        busy_after = self._worker.busy_s
        return ShardReport(
            self.stage.name,
            shard.index,
            sum(rows.values()) - kept.rows,
            len(notes.rejected),
            bytes=commit.bytes,
            seconds=seconds,
            busy_s=None if busy_before is None or busy_after is None else busy_after - busy_before,
            reasons=Counter(item.reason for item in notes.rejected),
        )

    def _inputs(
        self, shard: Shard, kept: Kept, wanted: Callable[[str], bool]
    ) -> Iterator[SelectedObject | View]:
        """Read what the stage makes of those objects of a shard that are wanted and need work."""
        objects = [item for item in self._store.read_objects(shard) if item.uid not in self._removed]
        if self.stage.name == RENDER:
            return (item for item in objects if kept.wants(item.uid) and wanted(item.uid))
        views = _views(self._store.read_view_rows(shard), objects)
        return (view for view in views if not kept.holds(view.key) and wanted(view.object.uid))

    def _write(
        self, outputs: Iterable[View | CaptionedView], shard: Shard, kept: Kept, path: Path
    ) -> dict[str, int]:
        """Write one row group for each object and return how many rows each has."""
        captioner = str(self._worker.made_by.get("name", "")) if self._worker else ""
        made = (
            (uid, _table([_row(output, shard, captioner) for output in group]))
            for uid, group in groupby(outputs, key=lambda output: output.key[0])
        )
        rows: dict[str, int] = {}
        with TableWriter(path, schema.VIEW_SCHEMA) as writer:
            for uid, table in kept.merged(made):
                writer.write_table(table)
                rows[uid] = table.num_rows
        return rows

    def _after_captions(self, shard: Shard, commit: Commit) -> None:
        write_contact_sheet(self._store, shard)
        fault_points.passing("shard.drawn")
        if self._drop_views and not lacks_captions(commit):
            self._store.drop_views(shard)


def lacks_captions(commit: Commit) -> bool:
    """Tell whether a shard's data lacks views that got no caption, so that another captioner needs them."""
    return any(rejected.stage == CAPTION for rejected in commit.rejected)


def _reject(culprit: Culprit, stage: StageName) -> Rejected:
    message = (
        f"its worker died {culprit.losses} times over it, also while it had nothing else to do; "
        f"last: {culprit.cause}"
    )
    return Rejected(culprit.uid, stage, CRASH, message, attempts=culprit.losses)


@dataclass(slots=True)
class Notes:
    """What a commit record tells besides the rows."""

    rejected: list[Rejected] = field(default_factory=list)
    assets: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Spent on each object by a worker that takes one after another."""

    def rounded_seconds(self) -> dict[str, float]:
        return {uid: round(seconds, 3) for uid, seconds in self.seconds.items()}


def _noted(
    outputs: Iterable[View | CaptionedView | Rejected], kept: Kept, notes: Notes, progress: Progress
) -> Iterator[View | CaptionedView]:
    """Pass outputs on, set the rejected ones aside, and note what each tells; what is kept already goes."""
    begun = time.monotonic()
    for output in outputs:
        notes.seconds[output.key[0]] += time.monotonic() - begun
        progress(1)
        if isinstance(output, Rejected):
            notes.rejected.append(output)
        elif not kept.holds(output.key):
            if isinstance(output, View):
                notes.assets.setdefault(output.object.uid, asset_row(output))
            yield output
        begun = time.monotonic()


def _without_secrets(rejected: Rejected) -> Rejected:
    tail = None if rejected.log_tail is None else redacted(rejected.log_tail)
    return replace(rejected, message=redacted(rejected.message), log_tail=tail)


def _views(tables: Iterable[pa.Table], objects: Sequence[SelectedObject]) -> Iterator[View]:
    by_uid = {item.uid: item for item in objects}
    for table in tables:
        if table["uid"][0].as_py() not in by_uid:
            continue
        for row in table.to_pylist():
            yield view_from_row(row, by_uid[row["uid"]])


def _table(rows: list[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema.VIEW_SCHEMA)


def _row(output: View | CaptionedView, shard: Shard, captioner: str) -> Mapping[str, Any]:
    if isinstance(output, View):
        return view_row(output, split=shard.split)
    return view_row(output.view, split=shard.split) | caption_columns(output, captioner=captioner)
