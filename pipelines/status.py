"""How far a dataset is, read from its plan, commit records and locks alone; nothing is written."""

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final

from mvcap import files
from mvcap.commits import RENDER, STAGES, Commit, StageName
from mvcap.config import RenderConfig
from mvcap.locks import drivers_at_work
from mvcap.places import Place
from mvcap.plan import Plan
from mvcap.records import Rejected
from mvcap.storage import Store
from pipelines.surveying import survey

SLOWEST: Final = 5


@dataclass(frozen=True, slots=True)
class StageStatus:
    """How far one stage is."""

    shards_done: int
    shards_running: int
    """Those of which there is an unfinished file, while somebody is at work; 0 in an object store."""
    shards_waiting: int
    views: int
    views_left: int
    """As many as the shards to come will have if they are like those that are there."""
    objects_failed: int
    views_failed: int
    reasons: Mapping[str, int]
    views_per_worker_second: float | None
    """Over all that is committed."""
    views_per_second: float | None
    """Of all workers together, since the present run began; None where nobody is at work."""
    seconds_left: float | None
    """At that rate."""
    slowest: Mapping[str, float]
    """Seconds of the objects that took longest."""


def dataset_status(root: Place) -> dict[str, Any]:
    """Tell how far a dataset is, what failed, and who is at work.

    Raises:
        OutputError: the folder holds no dataset.
    """
    store = Store(root)
    plan = store.require_plan()
    with store.fetched():
        return _status(store, plan)


def _status(store: Store, plan: Plan) -> dict[str, Any]:
    outcome = survey(store, plan)
    drivers = drivers_at_work(store.internal)
    running = _running(store, plan) if drivers else {}
    done = {stage: _commits(store, plan, stage) for stage in STAGES}
    expected = _expected_views(store, plan, done[RENDER])
    stages = {
        stage: _stage_status(plan, done[stage], running.get(stage, set()), drivers, expected)
        for stage in STAGES
    }
    return {
        "dataset": str(store.root),
        "complete": outcome.complete and not outcome.uncaptioned,
        "shards": len(plan.shards),
        "objects": outcome.objects,
        "objects_done": outcome.done,
        "objects_removed": outcome.removed,
        "views": outcome.views,
        "uncaptioned_views": outcome.uncaptioned,
        "stages": {name: asdict(status) for name, status in stages.items()},
        "failures": dict(outcome.reasons),
        "not_listed": dict(Counter(rejected.reason for rejected in store.read_listing_failures())),
        "at_work": drivers,
        "captioner_note": asdict(outcome.captioner_note) if outcome.captioner_note else None,
    }


def _commits(store: Store, plan: Plan, stage: StageName) -> list[Commit]:
    found = (store.find_commit(stage, shard) for shard in plan.shards)
    return [commit for commit in found if commit and not commit.uncaptioned]


def _stage_status(
    plan: Plan,
    done: Sequence[Commit],
    running: Iterable[int],
    drivers: Sequence[Mapping[str, Any]],
    expected: float,
) -> StageStatus:
    in_work = set(running) - {commit.shard for commit in done}
    rows, seconds = sum(commit.rows for commit in done), sum(commit.seconds for commit in done)
    left = max(round(expected) - rows, 0) if len(done) < len(plan.shards) else 0
    rejected = [each for commit in done for each in commit.rejected]
    rate = _present_rate(done, drivers)
    return StageStatus(
        shards_done=len(done),
        shards_running=len(in_work),
        shards_waiting=len(plan.shards) - len(done) - len(in_work),
        views=rows,
        views_left=left,
        objects_failed=len({each.uid for each in rejected if each.view_index is None}),
        views_failed=sum(each.view_index is not None for each in rejected),
        reasons=_counted(rejected),
        views_per_worker_second=round(rows / seconds, 3) if seconds else None,
        views_per_second=round(rate, 3) if rate else None,
        seconds_left=round(left / rate, 1) if rate else None,
        slowest=_slowest(done),
    )


def _counted(rejected: Iterable[Rejected]) -> dict[str, int]:
    return dict(Counter(each.reason for each in rejected).most_common())


def _present_rate(done: Sequence[Commit], drivers: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the views for each second since the first of the drivers at work began.

    Clocks of other hosts may differ a little, which only this figure suffers from.
    """
    if not drivers:
        return None
    begun = min(float(driver["since"]) for driver in drivers)
    rows = sum(commit.rows for commit in done if (commit.committed_at or 0) >= begun)
    elapsed_s = time.time() - begun
    return rows / elapsed_s if rows and elapsed_s > 0 else None


def _expected_views(store: Store, plan: Plan, rendered: Sequence[Commit]) -> float:
    """Guess how many views the whole dataset will have, failures included, from the shards that are there."""
    objects = sum(len(shard.uids) for shard in plan.shards)
    looked_at = sum(len(plan.shards[commit.shard].uids) for commit in rendered)
    if looked_at:
        return objects * sum(commit.rows for commit in rendered) / looked_at
    recorded = store.read_config()["config"].get("render", {})
    return float(objects * recorded.get("views", RenderConfig().views))


def _slowest(done: Iterable[Commit]) -> dict[str, float]:
    each = chain.from_iterable(commit.object_seconds.items() for commit in done)
    return dict(heapq.nlargest(SLOWEST, each, key=lambda item: (item[1], item[0])))


def _running(store: Store, plan: Plan) -> dict[StageName, set[int]]:
    """Find the shards that are being written: unfinished files end with the names they will have."""
    attempts = (path.name for path in files.list_files(store.attempts))
    unfinished = {name.removeprefix(files.TEMPORARY).partition("-")[2] for name in attempts}
    return {
        stage: {shard.index for shard in plan.shards if store.target(stage, shard).name in unfinished}
        for stage in STAGES
    }
