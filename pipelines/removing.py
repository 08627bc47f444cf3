"""Take objects out of a dataset, as when a licence is withdrawn: their rows, pictures and captions go.

The tombstone is written first: a run that is killed after it is finished by the next `remove` or build, and
workers leave the object out from then on.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from mvcap import files
from mvcap.commits import CAPTION, RENDER, STAGES, Commit
from mvcap.config import Config
from mvcap.errors import UsageError
from mvcap.places import Place
from mvcap.plan import Plan, Shard
from mvcap.quantities import by_number, quantity
from mvcap.removals import Removal
from mvcap.storage import Store
from pipelines.control_table import forget_objects
from pipelines.evaluation_list import find_named
from pipelines.finish import SUMMARIES, finish
from pipelines.leak_free import rendered_assets
from pipelines.rewriting import rewrite_shard
from pipelines.surveying import Outcome, survey

NAMED: Final = 5
"""Objects that a message names one by one."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """What a removal would take."""

    uids: tuple[str, ...]
    views: int
    shards: int
    """Those that are rewritten."""
    twins: tuple[str, ...]
    """Other objects that were rendered from the same model file."""


def find_doomed(store: Store, plan: Plan, named: Sequence[str]) -> Doomed:
    """Look up objects by their uids, their source's ids or their model files.

    A folder names none: what is taken out is gone for good, and any name is one of a folder somewhere.

    Raises:
        UsageError: a name is none of the dataset's, or nothing would be left.
    """
    found = find_named(named, store.read_objects(), below_folders=False)
    if found.unknown:
        raise UsageError(
            f"{store.root} has no object {found.unknown[0]}; objects.parquet lists uids and source ids"
        )
    gone = found.uids | store.read_removals().keys()
    left = {uid for shard in plan.shards for uid in shard.uids} - gone
    if not left:
        raise UsageError(f"nothing would be left of {store.root}: delete it as a whole instead")
    commits = list(store.read_commits(plan, CAPTION))
    assets = rendered_assets(store, plan)
    doomed_assets = {assets[uid] for uid in found.uids if uid in assets}
    return Doomed(
        uids=tuple(sorted(found.uids)),
        views=sum(commit.views.get(uid, 0) for commit in commits for uid in found.uids),
        shards=sum(not found.uids.isdisjoint(commit.views) for commit in commits),
        twins=tuple(sorted(uid for uid in left if assets.get(uid) in doomed_assets)),
    )


def remove_objects(
    config: Config,
    root: Place,
    named: Sequence[str],
    reason: str,
    say: Callable[[str], None],
    *,
    steal_lock: bool = False,
) -> Outcome:
    """Take objects out for good, and write what a finished dataset ends with.

    Raises:
        UsageError: as `find_doomed` does.
        DatasetLockedError: a driver is at work on the dataset.
    """
    store = Store(root)
    with store.lock(None, steal=steal_lock, tell=say) as hold:
        plan = store.require_plan()
        doomed = find_doomed(store, plan, named)
        hold.announce()
        fresh = {
            uid: Removal(uid, reason, round(time.time(), 3))
            for uid in doomed.uids
            if uid not in store.read_removals()
        }
        store.write_removals({**store.read_removals(), **fresh})
        purge_removed(store, plan)
        outcome = survey(store, plan)
        if outcome.complete or any(files.exists(store.root / name) for name in SUMMARIES):
            finish(store, plan, outcome, config)  # what an unfinished one ended with before it grew names it
    say(f"removed {quantity(len(doomed.uids), 'object')} with {quantity(doomed.views, 'view')}")
    if doomed.twins:
        listed = ", ".join(doomed.twins[:NAMED]) + (", ..." if len(doomed.twins) > NAMED else "")
        others = quantity(len(doomed.twins), "other object")
        say(f"note: {others} {by_number(len(doomed.twins), 'has', 'have')} the same model file: {listed}")
    return outcome


def purge_removed(store: Store, plan: Plan) -> int:
    """Rewrite the shards that still hold removed objects, and return how many those were.

    Only for the dataset's sole driver.
    """
    if not (removed := frozenset(store.read_removals())):
        return 0
    purged = [shard for shard in plan.shards if _purge_shard(store, shard, removed)]
    if purged:
        forget_objects(store, removed)
        for path in list(_set_aside(store, purged)):
            files.delete(path)
    return len(purged)


def _purge_shard(store: Store, shard: Shard, removed: frozenset[str]) -> bool:
    """Take removed objects out of a shard's views first, then out of its data."""
    if removed.isdisjoint(shard.uids):
        return False
    data = store.read_commit(CAPTION, shard.index)
    outdated = data is not None and store.is_outdated(data)
    done = [
        _purge_stage(store, shard, commit, removed, outdated=outdated)
        for commit in _holding(store, shard, removed)
    ]
    for stage in STAGES:
        commit = store.read_commit(stage, shard.index)
        if commit and commit.file is None:
            files.delete(store.target(stage, shard))
    return bool(done)


def _holding(store: Store, shard: Shard, removed: frozenset[str]) -> Iterator[Commit]:
    """Yield the records of a shard that tell of removed objects; each is read when its turn comes."""
    for stage in STAGES:
        commit = store.find_commit(stage, shard) or store.read_commit(stage, shard.index)
        if commit and not removed.isdisjoint(told_of(commit)):
            yield commit


def told_of(commit: Commit) -> set[str]:
    """Return every object that a record tells anything of."""
    rejected = {each.uid for each in commit.rejected}
    return {*commit.views, *commit.assets, *commit.object_seconds, *rejected, *commit.duplicates}


def _purge_stage(
    store: Store, shard: Shard, commit: Commit, removed: frozenset[str], *, outdated: bool
) -> Commit:
    """Take removed objects out of one file.

    Args:
        outdated: whether the data lacks views that were rendered since: it goes on to be older than these.
    """
    facts = without_objects(commit, removed)
    if commit.stage == CAPTION:
        files.delete(store.sheet_path(shard))
        render = store.read_commit(RENDER, shard.index)
        if render and commit.rendered is not None and not outdated:
            facts |= {"rendered": render.generation}
    if commit.dropped or commit.file is None or store.find_commit(commit.stage, shard) is None:
        return store.amend(replace(commit, **facts))
    return rewrite_shard(store, shard, commit, lambda table: _kept_rows(table, removed), **facts)


def _kept_rows(table: pa.Table, removed: frozenset[str]) -> pa.Table | None:
    return None if table["uid"][0].as_py() in removed else table


def without_objects(commit: Commit, removed: frozenset[str]) -> dict[str, Any]:
    """Return the fields of a record that name objects, without those."""

    def kept(by_uid: Mapping[str, Any]) -> dict[str, Any]:
        return {uid: value for uid, value in by_uid.items() if uid not in removed}

    views = kept(commit.views)
    return {
        "views": views,
        "rows": sum(views.values()),
        "rejected": tuple(each for each in commit.rejected if each.uid not in removed),
        "assets": kept(commit.assets),
        "object_seconds": kept(commit.object_seconds),
        "duplicates": kept(commit.duplicates),
    }


def _set_aside(store: Store, shards: Sequence[Shard]) -> Iterator[Place]:
    """Yield what `verify` set aside of some shards."""
    names = {store.target(stage, shard).name for shard in shards for stage in STAGES}
    for path in files.list_files(store.broken):
        if any(path.name.endswith(name) for name in names):
            yield path
