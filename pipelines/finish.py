"""What is written once all shards are committed: objects, failures, contact sheets and the card.

Everything here follows from the plan and the commit records; a finished dataset is left untouched.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from mvcap import fault_points, files, schema
from mvcap.commits import CAPTION, RENDER, Commit
from mvcap.config import Config
from mvcap.places import Place
from mvcap.plan import Plan
from mvcap.records import Rejected, SelectedObject
from mvcap.removals import Removal
from mvcap.report.card import write_card
from mvcap.report.samples import write_samples
from mvcap.report.sheets import write_contact_sheet
from mvcap.rows import failure_row
from mvcap.storage import Store
from mvcap.tables import TableWriter
from pipelines.control_table import control_path, read_figures
from pipelines.duplicates import (
    Duplicates,
    duplicate_columns,
    find_duplicates,
    label_duplicates,
    leak_figures,
)
from pipelines.measuring import Measured, measure_captions, score_rows
from pipelines.reporting import write_index
from pipelines.surveying import Outcome

SUMMARIES = ("README.md", schema.OBJECTS, schema.FAILURES)
ROWS_PER_GROUP = 50_000
"""Of the scores, which are narrow and read as a whole."""


def finish(store: Store, plan: Plan, outcome: Outcome, config: Config) -> bool:
    """Write what a complete dataset ends with; return whether anything had to be written.

    What is missing, or is not what was written last, is written anew.

    Raises:
        LockLostError: another driver has taken the dataset over; it may know more of it.
    """
    marker = store.finished_path
    written, commits = _read_marker(marker), store.digest(plan)
    told = {
        "control": _checksum_of(control_path(store)),
        "leaks": _checksum_of(store.leaks_path),
        "removed": _checksum_of(store.removals_path),
    }
    sheets = written.sheets if written.commits == commits else {}
    if (written.commits, written.told) == (commits, told) and _intact(store, plan, written):
        return False
    store.guard()
    fault_points.passing("finish.begun")
    duplicates = find_duplicates(store, plan)
    label_duplicates(store, plan, duplicates)
    fault_points.passing("finish.labelled")
    for shard in plan.shards:
        path = store.sheet_path(shard)
        expected = sheets.get(store.name_of(path))
        if not files.exists(path) or (expected and files.checksum_of(path) != expected):
            write_contact_sheet(store, shard)
    write_samples(store, plan)
    fault_points.passing("finish.drawn")
    measured = measure_captions(store, plan)
    store.guard()  # reading all may have taken long
    _write_objects(store, plan, outcome, measured, duplicates)
    fault_points.passing("finish.objects")
    _write_failures(store, outcome)
    fault_points.passing("finish.failures")
    _write_scores(store, plan, measured)
    fault_points.passing("finish.scores")
    control = read_figures(store, plan)
    write_card(store, plan, config, measured.figures, control, leak_figures(store, duplicates))
    fault_points.passing("finish.card")
    write_index(store, plan, config, outcome, figures=measured.figures, control=control)
    fault_points.passing("finish.report")
    content = {
        "commits": store.digest(plan),
        **told,
        "files": _checksums(store, [store.root / name for name in _summaries(measured)]),
        "sheets": _checksums(store, _drawings(store, plan)),
    }
    store.guard()
    files.write_json(marker, content)
    fault_points.passing("finish.marked")
    return True


@dataclass(frozen=True, slots=True)
class _Written:
    """What was written last, and for which state of the commits."""

    commits: str | None = None
    told: Mapping[str, str | None] = field(default_factory=dict)
    """Checksums of what the card tells besides: captions without guidance, what is kept out of training, what
    was removed."""
    files: Mapping[str, str] = field(default_factory=dict)
    sheets: Mapping[str, str] = field(default_factory=dict)


def _read_marker(marker: Place) -> _Written:
    """Read what was written last; nothing where that cannot be told."""
    try:
        content = json.loads(files.read_bytes(marker))
        return _Written(
            str(content["commits"]),
            {name: content.get(name) for name in ("control", "leaks", "removed")},
            dict(content["files"]),
            dict(content.get("sheets", {})),
        )
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError):
        return _Written()


def _checksum_of(path: Place) -> str | None:
    return files.checksum_of(path) if files.exists(path) else None


def _intact(store: Store, plan: Plan, written: _Written) -> bool:
    """Tell whether all that was written still stands; a marker without sheets is of an older version.

    The page is whatever `mvcap report` made of it last.
    """
    if not files.exists(store.page_path):
        return False
    expected = {**written.files, **written.sheets}
    paths = [store.root / name for name in {*SUMMARIES, *written.files}]
    paths += _drawings(store, plan) if written.sheets else []
    return all(files.exists(path) for path in paths) and _checksums(store, paths) == expected


def _drawings(store: Store, plan: Plan) -> list[Place]:
    """List the contact sheets, one for each shard that has rows, and the samples."""
    commits = {shard: store.read_commit(CAPTION, shard.index) for shard in plan.shards}
    sheets = [store.sheet_path(shard) for shard, commit in commits.items() if commit and commit.file]
    return [*sheets, store.samples_path] if sheets else []


def _checksums(store: Store, paths: Iterable[Place]) -> dict[str, str]:
    return {store.name_of(path): files.checksum_of(path) for path in paths}


def _summaries(measured: Measured) -> list[str]:
    return [*SUMMARIES, schema.SCORES] if measured.scores else [*SUMMARIES]


def _write_scores(store: Store, plan: Plan, measured: Measured) -> None:
    """Write where each score stands among like views; remove what an earlier CLIP said."""
    if not measured.scores:
        files.delete(store.root / schema.SCORES)
        return
    with (
        files.staged(store.root / schema.SCORES) as path,
        TableWriter(path, schema.SCORE_SCHEMA) as writer,
    ):
        rows = score_rows(store, plan, measured.scores)
        while group := list(islice(rows, ROWS_PER_GROUP)):
            writer.write(group)


def _write_failures(store: Store, outcome: Outcome) -> None:
    with (
        files.staged(store.root / schema.FAILURES) as path,
        TableWriter(path, schema.FAILURE_SCHEMA) as writer,
    ):
        writer.write([failure_row(rejected) for rejected in outcome.failures])


def _write_objects(
    store: Store, plan: Plan, outcome: Outcome, measured: Measured, duplicates: Duplicates
) -> None:
    reasons = _reason_of_each(outcome.failures)
    objects = {item.uid: item for item in store.read_objects()}
    removals = store.read_removals()
    with (
        files.staged(store.root / schema.OBJECTS) as path,
        TableWriter(path, schema.OBJECT_SCHEMA) as writer,
    ):
        for shard in plan.shards:
            commits = [store.read_commit(stage, shard.index) for stage in (RENDER, CAPTION)]
            writer.write(
                [
                    _object_row(objects[uid], commits, reasons.get(uid), removals.get(uid))
                    | {"split": shard.split, "shard": shard.index}
                    | duplicate_columns(duplicates, uid)
                    | (asdict(measured.objects[uid]) if uid in measured.objects else {})
                    for uid in shard.uids
                ]
            )


def _reason_of_each(failures: Iterable[Rejected]) -> dict[str, str]:
    return {rejected.uid: rejected.reason for rejected in reversed(list(failures))}


def _object_row(
    item: SelectedObject, commits: list[Commit | None], reason: str | None, removal: Removal | None
) -> dict[str, Any]:
    record, data = item.record, commits[-1]
    views = data.views.get(item.uid, 0) if data else 0
    status = ("partial" if reason else "done") if views else "failed" if reason else "pending"
    if removal:
        status, reason = "removed", removal.reason
    return {
        "uid": record.uid,
        "source": record.source,
        "source_id": record.source_id,
        "name": record.name,
        "category": item.category,
        "similarity": item.similarity,
        "front_azimuth_deg": record.front_azimuth_deg,
        "status": status,
        "reason": reason,
        "views": views,
        "license": record.license,
        "creator": record.creator,
        "source_url": record.source_url,
        **(commits[0].assets.get(item.uid, {}) if commits[0] else {}),
    }
