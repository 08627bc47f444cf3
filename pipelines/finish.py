"""What is written once all shards are committed: objects, failures, contact sheets and the card.

Everything here follows from the plan and the commit records; a finished dataset is left untouched.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvcap import files, schema
from mvcap.commits import CAPTION, RENDER, STAGES, Commit
from mvcap.config import Config
from mvcap.plan import Plan
from mvcap.records import Rejected, SelectedObject
from mvcap.report.card import write_card
from mvcap.report.sheets import write_contact_sheet
from mvcap.storage import Store
from mvcap.tables import TableWriter

SUMMARIES = ("README.md", "objects.parquet", "failures.parquet")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a dataset holds, counted from its commit records."""

    objects: int
    done: int
    """Objects with at least one row."""
    views: int
    failures: tuple[Rejected, ...]
    untrained_captions: bool
    complete: bool
    """Every shard of the plan is committed."""

    @property
    def reasons(self) -> Counter[str]:
        return Counter(rejected.reason for rejected in self.failures)


def survey(store: Store, plan: Plan) -> Outcome:
    """Count what a dataset holds."""
    data = {shard.index: store.find_commit(CAPTION, shard) for shard in plan.shards}
    commits = [commit for commit in data.values() if commit]
    listed = store.read_listing_failures()
    return Outcome(
        objects=sum(len(shard.uids) for shard in plan.shards) + len(listed),
        done=sum(len(commit.views) for commit in commits),
        views=sum(commit.rows for commit in commits),
        failures=(*listed, *all_failures(store, plan)),
        untrained_captions=any(commit.made_by.get("untrained") for commit in commits),
        complete=len(commits) == len(plan.shards),
    )


def all_failures(store: Store, plan: Plan) -> list[Rejected]:
    """Collect the rejected objects and views of every committed shard, in the plan's order."""
    commits = (store.read_commit(stage, shard.index) for shard in plan.shards for stage in STAGES)
    return [rejected for commit in commits if commit for rejected in commit.rejected]


def finish(store: Store, plan: Plan, outcome: Outcome, config: Config) -> bool:
    """Write what a complete dataset ends with; return whether anything had to be written."""
    marker, commits = store.internal / "finished.json", _digest_of_commits(store, plan)
    if _finished_for(marker) == commits:
        return False
    for shard in plan.shards:
        if not store.sheet_path(shard).exists():
            write_contact_sheet(store, shard)
    _write_objects(store, plan, outcome)
    _write_failures(store, outcome)
    write_card(store, plan, config)
    checksums = {name: files.sha256_of(store.root / name) for name in SUMMARIES}
    files.write_json(marker, {"commits": commits, "files": checksums})
    return True


def _finished_for(marker: Path) -> str | None:
    """Read for which state of the commits everything was written; None where that cannot be told."""
    try:
        return str(json.loads(marker.read_bytes())["commits"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _digest_of_commits(store: Store, plan: Plan) -> str:
    """Hash all that the files written here depend on."""
    digest = hashlib.sha256(files.json_bytes(plan.to_json()))
    for shard in plan.shards:
        for stage in STAGES:
            commit = store.read_commit(stage, shard.index)
            facts = (stage, shard.index, commit.sha256, commit.generation) if commit else (stage, shard.index)
            digest.update(repr(facts).encode())
    return digest.hexdigest()


def _write_failures(store: Store, outcome: Outcome) -> None:
    with (
        files.staged(store.root / "failures.parquet") as path,
        TableWriter(path, schema.FAILURE_SCHEMA) as writer,
    ):
        writer.write([schema.failure_row(rejected) for rejected in outcome.failures])


def _write_objects(store: Store, plan: Plan, outcome: Outcome) -> None:
    reasons = _reason_of_each(outcome.failures)
    objects = {item.uid: item for item in store.read_objects()}
    with (
        files.staged(store.root / "objects.parquet") as path,
        TableWriter(path, schema.OBJECT_SCHEMA) as writer,
    ):
        for shard in plan.shards:
            commits = [store.read_commit(stage, shard.index) for stage in (RENDER, CAPTION)]
            writer.write(
                [
                    _object_row(objects[uid], commits, reasons.get(uid))
                    | {"split": shard.split, "shard": shard.index}
                    for uid in shard.uids
                ]
            )


def _reason_of_each(failures: Iterable[Rejected]) -> dict[str, str]:
    return {rejected.uid: rejected.reason for rejected in reversed(list(failures))}


def _object_row(item: SelectedObject, commits: list[Commit | None], reason: str | None) -> dict[str, Any]:
    record, data = item.record, commits[-1]
    views = data.views.get(item.uid, 0) if data else 0
    status = ("partial" if reason else "done") if views else "failed" if reason else "pending"
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
    }
