"""Which failures are tried again, at a user's word: the same command never does by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, get_args

from mvcap.commits import CAPTION, RENDER, STAGES, UNCAPTIONED, StageName
from mvcap.errors import Reason, UnknownNameError, UsageError
from mvcap.plan import Plan
from mvcap.records import Rejected
from mvcap.storage import Store

REASONS: Final[tuple[str, ...]] = get_args(Reason)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to try again: of all that failed, what has one of the reasons and is one of the objects."""

    reasons: frozenset[str] = frozenset()
    """Empty for any."""
    uids: frozenset[str] = frozenset()
    """Empty for all."""

    def __contains__(self, rejected: Rejected) -> bool:
        return (not self.reasons or rejected.reason in self.reasons) and (
            not self.uids or rejected.uid in self.uids
        )


def require_known(store: Store, selection: Selection) -> None:
    """Refuse reasons and objects that there are none of.

    Raises:
        UnknownNameError: no such reason.
        UsageError: an object is not of this dataset.
    """
    for reason in sorted(selection.reasons):
        if reason not in REASONS:
            raise UnknownNameError("reason", reason, REASONS)
    planned = {uid for shard in store.require_plan().shards for uid in shard.uids}
    if strangers := sorted(selection.uids - planned):
        raise UsageError(f"{store.root} has no object {strangers[0]}; objects.parquet lists all uids")


def find_failures(store: Store, plan: Plan, selection: Selection) -> dict[StageName, frozenset[str]]:
    """Return for each stage the uids whose failures in committed shards are selected."""
    found: dict[StageName, set[str]] = {stage: set() for stage in STAGES}
    for shard in plan.shards:
        for stage in STAGES:
            if commit := store.find_commit(stage, shard):
                found[stage] |= {each.uid for each in commit.rejected if each in selection}
    return {stage: frozenset(uids) for stage, uids in found.items()}


def shards_to_do_again(
    store: Store, plan: Plan, again: Mapping[StageName, frozenset[str]]
) -> dict[StageName, list[int]]:
    """List the shards that each stage does once more: what is rendered again is captioned again.

    What was rendered again by a second try that was cut off is captioned as well.
    """
    rendered = [shard.index for shard in plan.shards if again[RENDER].intersection(shard.uids)]
    captioned = [shard.index for shard in plan.shards if again[CAPTION].intersection(shard.uids)]
    return {RENDER: rendered, CAPTION: sorted({*rendered, *captioned, *cut_off(store, plan)})}


def cut_off(store: Store, plan: Plan) -> list[int]:
    """List the shards whose views were rendered again, and whose captions were not written since."""
    return [commit.shard for commit in store.read_commits(plan, CAPTION) if store.is_outdated(commit)]


def is_captioned(store: Store, plan: Plan) -> bool:
    """Tell whether any shard has captions, so that what is tried again gets some as well."""
    return any(commit.settings != UNCAPTIONED for commit in store.read_commits(plan, CAPTION))
