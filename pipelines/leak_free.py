"""Extend a plan so that nothing of the evaluation, and no twin of an object elsewhere, is learnt."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from mvcap.commits import RENDER
from mvcap.config import TRAINING, PlanConfig
from mvcap.errors import UsageError
from mvcap.leaks import Leaks
from mvcap.plan import HeldOut, Plan, extend_plan
from mvcap.quantities import quantity
from mvcap.records import SelectedObject
from mvcap.storage import Store
from pipelines.evaluation_list import find_named, read_entries
from pipelines.identical_assets import find_twins


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it keeps out of training."""

    plan: Plan
    leaks: Leaks


def extend_without_leaks(
    plan: Plan,
    listed: Mapping[str, SelectedObject],
    planned: dict[str, SelectedObject],
    config: PlanConfig,
    store: Store,
) -> Planned:
    """Add the listed objects that a plan does not hold yet; twins share a split, evaluation is kept apart.

    Raises:
        UsageError: an evaluation object, or one with the same asset, is in the training split already; or
            the list of evaluation objects cannot be read.
    """
    before = store.read_leaks()
    entries = read_entries(config.evaluation)
    named = find_named(entries, {**planned, **listed}.values())
    evaluation = named.uids | set(before.evaluation)
    seen = planned.keys() | set(before.left_out)
    new = {uid: item for uid, item in listed.items() if uid not in seen}
    old = planned | {uid: item for uid, item in listed.items() if uid in seen}
    found = find_twins(_assets(new), _assets(old), lambda: rendered_assets(store, plan))
    twins = {uid: group for uid, group in {**before.twins, **found}.items() if uid in new or uid in old}
    _refuse_learnt(plan, twins, evaluation)
    extended = extend_plan(plan, listed, twins=twins, held_out=HeldOut(evaluation, config.evaluation_split))
    inside = {uid for shard in extended.shards for uid in shard.uids}
    leaks = Leaks(
        evaluation=tuple(sorted(evaluation)),
        left_out=tuple(sorted(listed.keys() - inside)),
        entries=len(entries),
        unknown=named.unknown,
        twins=dict(sorted(twins.items())),
    )
    return Planned(extended, leaks)


def _assets(objects: Mapping[str, SelectedObject]) -> dict[str, Path]:
    return {uid: Path(item.record.asset) for uid, item in objects.items()}


def rendered_assets(store: Store, plan: Plan) -> dict[str, str]:
    """Look up the sha256 of the asset that each object was rendered from, by uid."""
    return {
        uid: digest
        for commit in store.read_commits(plan, RENDER)
        for uid, facts in commit.assets.items()
        if (digest := facts.get("asset_sha256"))
    }


def _refuse_learnt(plan: Plan, twins: Mapping[str, str], evaluation: Collection[str]) -> None:
    """Refuse an evaluation object that the training split holds, itself or by a twin."""
    learnt = {uid for shard in plan.shards if shard.split == TRAINING for uid in shard.uids}
    learnt_assets = {twins[uid]: uid for uid in learnt if uid in twins}
    bad = {uid: uid for uid in evaluation if uid in learnt}
    bad |= {uid: twin for uid in evaluation if (twin := learnt_assets.get(twins.get(uid, "")))}
    if bad:
        uid, twin = min(bad.items())
        how = "" if uid == twin else f" as {twin}, whose asset is the same"
        objects = quantity(len(bad), "object")
        raise UsageError(
            f"plan.evaluation names {objects} that this dataset has in {TRAINING} already, such as "
            f"{uid}{how}; planned objects never change their split: build into another folder with --out"
        )
