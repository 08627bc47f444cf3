"""What a dataset holds and what failed, counted from its plan and commit records."""

from collections import Counter
from dataclasses import dataclass

from mvcap.commits import CAPTION, STAGES
from mvcap.plan import Plan
from mvcap.records import Rejected
from mvcap.report.captioner_notes import CaptionerNote, note_on
from mvcap.storage import Store


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a dataset holds, counted from its commit records."""

    objects: int
    done: int
    """Objects with at least one row."""
    views: int
    uncaptioned: int
    """Views whose captions are null."""
    failures: tuple[Rejected, ...]
    captioner_note: CaptionerNote | None
    complete: bool
    """Every shard of the plan is committed, as it was rendered last, no two were captioned with different
    settings, and no slice is still at work."""
    removed: int = 0
    """Objects that were taken out for good; `objects` does not count them."""

    @property
    def reasons(self) -> Counter[str]:
        return Counter(rejected.reason for rejected in self.failures)


def survey(store: Store, plan: Plan) -> Outcome:
    """Count what a dataset holds."""
    data = {shard.index: store.find_commit(CAPTION, shard) for shard in plan.shards}
    commits = [commit for commit in data.values() if commit]
    listed, removed = store.read_listing_failures(), store.read_removals()
    return Outcome(
        objects=sum(len(shard.uids) for shard in plan.shards) - len(removed) + len(listed),
        done=sum(len(commit.views) for commit in commits),
        views=sum(commit.rows for commit in commits),
        uncaptioned=sum(commit.rows for commit in commits if commit.uncaptioned),
        failures=(*listed, *all_failures(store, plan)),
        captioner_note=next((note for commit in commits if (note := note_on(commit.made_by))), None),
        complete=len(commits) == len(plan.shards)
        and not any(map(store.is_outdated, commits))
        and len({commit.settings for commit in commits if not commit.uncaptioned}) <= 1,
        removed=len(removed),
    )


def all_failures(store: Store, plan: Plan) -> list[Rejected]:
    """Collect the rejected objects and views of every committed shard, in the plan's order."""
    return [rejected for commit in store.read_commits(plan, *STAGES) for rejected in commit.rejected]
