"""Check every byte of a dataset against its commit records.

A plain read does not notice a flipped byte in a page of pictures; checksums do. A broken shard's file is
moved to `_mvcap/broken/` and its commit record removed, so that the next run makes that shard anew and
nobody trains on it meanwhile.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from mvcap import fault_points, files, schema
from mvcap.commits import CAPTION, RENDER, STAGES, Commit, StageName
from mvcap.deep_checks import describe_flaws, flaws_of_rows, unaccounted
from mvcap.errors import CorruptDatasetError, OutputError
from mvcap.places import Place
from mvcap.plan import Plan, Shard
from mvcap.quantities import by_number, quantity
from mvcap.records import SelectedObject
from mvcap.storage import Store
from mvcap.tables import open_table

KNOWN_FILES = frozenset({"README.md", *schema.TABLES})


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with one file."""

    file: str
    """Relative to the dataset."""
    message: str
    shard: Shard | None = None
    """The shard to make anew, where the problem is a committed file's."""
    stage: StageName | None = None


def verify_dataset(root: Place, *, mark: bool = True, deep: bool = False) -> list[Problem]:
    """Find everything that is wrong with a dataset's files.

    Args:
        mark: set broken shards aside, so that the next run makes them anew.
        deep: look at the rows too: decode each picture, and compare each row with its plan and record.

    Raises:
        OutputError: the folder holds no dataset, or `mark` is set and it cannot be written.
        DatasetLockedError: a driver is at work on it, and `mark` is set.
    """
    store = Store(root)
    plan = store.require_plan()
    if not mark:
        return list(find_problems(store, plan, deep=deep))
    try:
        with store.lock() as hold:
            problems = list(find_problems(store, plan, deep=deep))
            for problem in problems:
                if problem.shard and problem.stage:
                    hold.announce()
                    _set_aside(store, problem.shard, problem.stage)
    except OutputError as error:
        raise OutputError(f"{error}; to check without setting anything aside, use --dry-run") from error
    return problems


def find_problems(store: Store, plan: Plan, *, deep: bool = False) -> Iterator[Problem]:
    """Yield the problems of our own records, of committed files and summaries, then files nobody knows."""
    yield from _damaged_records(store, plan)
    objects = _planned_objects(store) if deep else None
    for shard in plan.shards:
        for stage in STAGES:
            commit = store.read_commit(stage, shard.index)
            if commit and commit.file and not commit.dropped:
                store.find_commit(stage, shard)  # rolls an interrupted commit forward
                if message := _flaw(store, shard, commit, objects):
                    yield Problem(commit.file, message, shard, stage)
    if deep:
        yield from _lost_rows(store, plan)
    yield from _unfinished(store, plan)
    yield from _mixed_settings(store, plan)
    yield from _removed_but_there(store, plan)
    yield from _changed_summaries(store, plan)
    yield from _foreign_files(store, plan)


def _damaged_records(store: Store, plan: Plan) -> Iterator[Problem]:
    """Read everything that the next command would read before it looks at the data."""
    planned = [uid for shard in plan.shards for uid in shard.uids]
    objects: list[str] = []
    readers: list[tuple[Place, Callable[[], Any]]] = [
        (store.objects_path, lambda: objects.extend(item.uid for item in store.read_objects())),
        (store.listing_failures_path, store.read_listing_failures),
        (store.leaks_path, store.read_leaks),
        (store.removals_path, store.read_removals),
        (store.config_path, store.read_config),
    ]
    for path in files.list_files(store.internal / "settings"):
        for stage in STAGES:
            if path.name.startswith(f"{stage}-") and path.suffix == ".json":
                digest = path.stem.removeprefix(f"{stage}-")
                readers.append((path, partial(store.settings, stage, digest)))
    damaged = set()
    for path, read in readers:
        try:
            read()
        except CorruptDatasetError as error:
            damaged.add(path)
            yield Problem(store.name_of(path), str(error).removeprefix(f"{path} "))
    if store.objects_path not in damaged and objects != planned:
        yield Problem(
            store.name_of(store.objects_path),
            "does not hold the plan's objects; delete it and run the same build again with its sources",
        )
    for shard in plan.shards:
        for stage in STAGES:
            path = store.commit_path(stage, shard.index)
            if files.exists(path) and store.read_commit(stage, shard.index) is None:
                what = "is damaged and proves nothing; the next run makes its shard anew"
                yield Problem(store.name_of(path), what)


def _mixed_settings(store: Store, plan: Plan) -> Iterator[Problem]:
    """Find shards that were made unlike the others; null captions are not captions made otherwise."""
    for stage, remedy in (
        (RENDER, "build into another folder"),
        (CAPTION, f"write all captions anew with `mvcap caption {store.root} --recaption`"),
    ):
        commits = store.read_commits(plan, stage)
        counts = Counter(commit.settings for commit in commits if not commit.uncaptioned)
        if len(counts) > 1:
            listed = ", ".join(f"{digest} ({count} shards)" for digest, count in counts.most_common())
            what = f"the {stage} shards were made with {len(counts)} different settings"
            yield Problem("data", f"{what}: {listed}; {remedy}")


def _removed_but_there(store: Store, plan: Plan) -> Iterator[Problem]:
    """Find what a removal that was cut off left behind."""
    try:
        removed = store.read_removals().keys()
    except CorruptDatasetError:
        return  # told among the damaged records
    for commit in store.read_commits(plan, *STAGES):
        if commit.file and (left := removed & commit.views.keys()):
            what = "still holds removed objects; the same build, or `mvcap remove` again, takes them out"
            yield Problem(commit.file, f"{what}: {sorted(left)[:3]}")


def _planned_objects(store: Store) -> dict[str, SelectedObject]:
    try:
        return {item.uid: item for item in store.read_objects()}
    except CorruptDatasetError:
        return {}  # told among the damaged records


def _lost_rows(store: Store, plan: Plan) -> Iterator[Problem]:
    """Find objects and views that are neither there nor rejected; their shards are made anew."""
    try:
        removed = store.read_removals().keys()
    except CorruptDatasetError:
        return  # told among the damaged records
    for shard in plan.shards:
        render, data = (store.read_commit(stage, shard.index) for stage in STAGES)
        if message := describe_flaws(unaccounted(shard, render, data, removed)):
            for commit in (render, data):
                if commit and not commit.dropped:
                    path = store.commit_path(commit.stage, shard.index)
                    yield Problem(store.name_of(path), message, shard, commit.stage)


def _flaw(
    store: Store, shard: Shard, commit: Commit, objects: dict[str, SelectedObject] | None
) -> str | None:
    """Say what is wrong with a committed file, cheapest checks first; with `objects`, deep ones too."""
    path = store.root / (commit.file or "")
    if (found := files.facts(path)) is None:
        return "is missing"
    if found.bytes != commit.bytes:
        return f"has {found.bytes} bytes; its commit says {commit.bytes}"
    if files.sha256_of(path) != commit.sha256:
        return "has another content than its commit's checksum"
    try:
        flaw = _flaw_of_rows(path, shard, commit)
        if flaw or objects is None:
            return flaw
        return describe_flaws(flaws_of_rows(store.read_rows(commit), shard, commit, objects))
    except (OSError, pa.ArrowException, CorruptDatasetError) as error:
        return f"cannot be read: {error}"


def _flaw_of_rows(path: Place, shard: Shard, commit: Commit) -> str | None:
    with open_table(path) as file:
        schema.check_version(file.schema_arrow, path.name)
        keys = file.read(columns=["uid", "view_index"]).to_pylist()
    seen = {(row["uid"], row["view_index"]) for row in keys}
    if len(keys) != commit.rows:
        return f"has {quantity(len(keys), 'row')}; its commit says {commit.rows}"
    if len(seen) != len(keys):
        return f"holds {quantity(len(keys) - len(seen), 'row')} twice"
    if foreign := {uid for uid, _ in seen} - set(shard.uids):
        return f"holds objects of another shard: {sorted(foreign)[:3]}"
    return None


def _unfinished(store: Store, plan: Plan) -> Iterator[Problem]:
    commits = {shard.index: store.find_commit(CAPTION, shard) for shard in plan.shards}
    missing = [index for index, commit in commits.items() if commit is None]
    outdated = [index for index, commit in commits.items() if commit and store.is_outdated(commit)]
    for found, what in ((missing, "not committed"), (outdated, "older than their views, which came later")):
        if found:
            listed = ", ".join(map(str, found[:10])) + (", ..." if len(found) > 10 else "")
            shards, are = quantity(len(plan.shards), "shard"), by_number(len(found), "is", "are")
            yield Problem("data", f"{len(found)} of {shards} {are} {what}: {listed}")


def _changed_summaries(store: Store, plan: Plan) -> Iterator[Problem]:
    """Check the files that a finished build ends with against the checksums it kept.

    Contact sheets are drawn with each shard, so they count only while the commits are those of the build.
    """
    marker = store.finished_path
    if not files.exists(marker):
        return
    try:
        content = json.loads(files.read_bytes(marker))
        expected_of = dict(content["files"])
        if content["commits"] == store.digest(plan):
            expected_of |= content.get("sheets", {})
    except (ValueError, KeyError, TypeError):
        yield Problem(store.name_of(marker), "is damaged; delete it and build again")
        return
    for name, expected in expected_of.items():
        path = store.root / name
        if not files.exists(path):
            yield Problem(name, "is missing")
        elif files.sha256_of(path) != expected:
            yield Problem(name, "was changed after the build")


def _foreign_files(store: Store, plan: Plan) -> Iterator[Problem]:
    """List what no commit and no build put there."""
    known = {store.root / name for name in KNOWN_FILES} | {store.samples_path, store.page_path}
    for shard in plan.shards:
        known |= {store.sheet_path(shard), store.target(RENDER, shard)}
        if (commit := store.read_commit(CAPTION, shard.index)) and commit.file:
            known.add(store.target(CAPTION, shard))
    for path in files.list_files(store.root):
        inside = store.is_internal(path) and path.parent != store.views
        if not inside and path not in known:
            what = (
                "is a leftover of an attempt"
                if path.name.startswith(files.TEMPORARY)
                else "is not of this dataset"
            )
            yield Problem(store.name_of(path), what)


def _set_aside(store: Store, shard: Shard, stage: StageName) -> None:
    """Take a broken shard out of the dataset; its record goes first: a crash leaves no false proof."""
    files.delete(store.commit_path(stage, shard.index))
    fault_points.passing("aside.forgotten")
    broken = store.target(stage, shard)
    if files.exists(broken):
        files.move(broken, files.temporary_name(store.broken / broken.name))
    fault_points.passing("aside.moved")
    files.delete(store.finished_path)
    fault_points.passing("aside.unfinished")
    if stage == CAPTION:
        files.delete(store.sheet_path(shard))
        _forget_dropped_render(store, shard)


def _forget_dropped_render(store: Store, shard: Shard) -> None:
    commit = store.read_commit(RENDER, shard.index)
    if commit and commit.dropped:
        files.delete(store.commit_path(RENDER, shard.index))
