"""Check every byte of a dataset against its commit records.

A plain read does not notice a flipped byte in a page of pictures; checksums do. A broken shard's file is
moved to `_mvcap/broken/` and its commit record removed, so that the next run makes that shard anew and
nobody trains on it meanwhile.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mvcap import files, schema
from mvcap.commits import CAPTION, RENDER, STAGES, Commit, StageName
from mvcap.errors import CorruptDatasetError
from mvcap.locks import dataset_lock
from mvcap.plan import Plan, Shard
from mvcap.storage import Store

KNOWN_FILES = frozenset({"README.md", "objects.parquet", "failures.parquet"})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one file."""

    file: str
    """Relative to the dataset."""
    message: str
    shard: Shard | None = None
    """The shard to make anew, where the problem is a committed file's."""
    stage: StageName | None = None


def verify_dataset(root: Path, *, mark: bool = True) -> list[Problem]:
    """Find everything that is wrong with a dataset's files.

    Args:
        mark: set broken shards aside, so that the next run makes them anew.

    Raises:
        OutputError: the folder holds no dataset.
        DatasetLockedError: a driver is at work on it, and `mark` is set.
    """
    store = Store(root)
    plan = store.require_plan()
    if not mark:
        return list(find_problems(store, plan))
    with dataset_lock(store.internal) as announce:
        problems = list(find_problems(store, plan))
        for problem in problems:
            if problem.shard and problem.stage:
                announce()
                _set_aside(store, problem.shard, problem.stage)
    return problems


def find_problems(store: Store, plan: Plan) -> Iterator[Problem]:
    """Yield the problems of every committed file, then unfinished work, then files nobody knows."""
    for shard in plan.shards:
        for stage in STAGES:
            commit = store.read_commit(stage, shard.index)
            if commit and commit.file and not commit.dropped:
                store.find_commit(stage, shard)  # rolls an interrupted commit forward
                if message := _flaw(store, shard, commit):
                    yield Problem(commit.file, message, shard, stage)
    yield from _unfinished(store, plan)
    yield from _changed_summaries(store)
    yield from _foreign_files(store, plan)


def _flaw(store: Store, shard: Shard, commit: Commit) -> str | None:
    """Say what is wrong with a committed file, cheapest checks first."""
    path = store.root / (commit.file or "")
    if not path.exists():
        return "is missing"
    if (size := path.stat().st_size) != commit.bytes:
        return f"has {size} bytes; its commit says {commit.bytes}"
    if files.sha256_of(path) != commit.sha256:
        return "has another content than its commit's checksum"
    try:
        return _flaw_of_rows(path, shard, commit)
    except (OSError, pa.ArrowException, CorruptDatasetError) as error:
        return f"cannot be read: {error}"


def _flaw_of_rows(path: Path, shard: Shard, commit: Commit) -> str | None:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        schema.check_version(file.schema_arrow, path.name)
        keys = file.read(columns=["uid", "view_index"]).to_pylist()
    seen = {(row["uid"], row["view_index"]) for row in keys}
    if len(keys) != commit.rows:
        return f"has {len(keys)} rows; its commit says {commit.rows}"
    if len(seen) != len(keys):
        return f"holds {len(keys) - len(seen)} rows twice"
    if foreign := {uid for uid, _ in seen} - set(shard.uids):
        return f"holds objects of another shard: {sorted(foreign)[:3]}"
    return None


def _unfinished(store: Store, plan: Plan) -> Iterator[Problem]:
    missing = [shard.index for shard in plan.shards if store.find_commit(CAPTION, shard) is None]
    if missing:
        listed = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        yield Problem("data", f"{len(missing)} of {len(plan.shards)} shards are not committed: {listed}")


def _changed_summaries(store: Store) -> Iterator[Problem]:
    """Check the files that a finished build ends with against the checksums it kept."""
    marker = store.internal / "finished.json"
    if not marker.exists():
        return
    try:
        expected_of = dict(json.loads(marker.read_bytes())["files"])
    except (ValueError, KeyError, TypeError):
        yield Problem(str(marker.relative_to(store.root)), "is damaged; delete it and build again")
        return
    for name, expected in expected_of.items():
        path = store.root / name
        if not path.exists():
            yield Problem(name, "is missing")
        elif files.sha256_of(path) != expected:
            yield Problem(name, "was changed after the build")


def _foreign_files(store: Store, plan: Plan) -> Iterator[Problem]:
    """List what no commit and no build put there."""
    known = {store.root / name for name in KNOWN_FILES}
    for shard in plan.shards:
        known.add(store.sheet_path(shard))
        if (commit := store.read_commit(CAPTION, shard.index)) and commit.file:
            known.add(store.target(CAPTION, shard))
    for path in sorted(store.root.rglob("*")):
        inside = path.is_relative_to(store.internal)
        if path.is_file() and not inside and path not in known:
            what = (
                "is a leftover of an attempt"
                if path.name.startswith(files.TEMPORARY)
                else "is not of this dataset"
            )
            yield Problem(str(path.relative_to(store.root)), what)


def _set_aside(store: Store, shard: Shard, stage: StageName) -> None:
    """Take a broken shard out of the dataset; its record goes first: a crash leaves no false proof."""
    store.commit_path(stage, shard.index).unlink(missing_ok=True)
    broken = store.target(stage, shard)
    if broken.exists():
        (store.internal / "broken").mkdir(exist_ok=True)
        broken.replace(files.temporary_name(store.internal / "broken" / broken.name))
    (store.internal / "finished.json").unlink(missing_ok=True)
    if stage == CAPTION:
        store.sheet_path(shard).unlink(missing_ok=True)
        _forget_dropped_render(store, shard)


def _forget_dropped_render(store: Store, shard: Shard) -> None:
    commit = store.read_commit(RENDER, shard.index)
    if commit and commit.dropped:
        store.commit_path(RENDER, shard.index).unlink()
