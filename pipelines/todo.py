"""What a build has to do: decided from what was asked for and the disk as it is now, or refused."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mvcap.commits import CAPTION, RENDER, UNCAPTIONED, UNCAPTIONED_SETTINGS, StageName
from mvcap.config import Config, settings_hash
from mvcap.holds import Part
from mvcap.places import Place
from mvcap.plan import Plan, Shard, slice_shards
from mvcap.storage import Store
from pipelines import captioning, viewing
from pipelines.leak_free import Planned
from pipelines.planning import Listing, plan_objects, recaption_command, refuse_changed_settings
from pipelines.second_tries import Selection, find_failures, shards_to_do_again
from pipelines.stages import Stage


@dataclass(frozen=True, slots=True)
class Request:
    """What a command asks of the pipeline."""

    out: Place
    render: bool = True
    """List objects and render them; otherwise take the dataset as it stands."""
    caption: bool = True
    """Write captions; otherwise leave them null where there are none."""
    recaption: bool = False
    """Replace captions that were made with other settings."""
    part: Part | None = None
    """Slice K of N of the shards; None for all."""
    steal_lock: bool = False
    """Take the dataset from a driver on another machine."""
    again: Selection | None = None
    """Try these failures again and do nothing else; None for what a build has to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage and the settings it stands for."""

    stage: Stage[Any, Any]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """What a run is going to do."""

    planned: Planned
    steps: list[Step]
    todo: Mapping[StageName, list[int]]

    @property
    def plan(self) -> Plan:
        return self.planned.plan


def choose_work(
    config: Config, store: Store, listing: Listing | None, request: Request, steps: list[Step]
) -> Work:
    """Decide what to do, from the disk as it is now, or refuse."""
    if listing:
        planned = plan_objects(config, store.read_plan(), listing, store)
    else:
        planned = Planned(store.require_plan(), store.read_leaks())
    _refuse_changes(store, planned.plan, steps, request)
    if request.again is None:
        return Work(planned, steps, _todo(store, planned.plan, steps, request))
    again = find_failures(store, planned.plan, request.again)
    steps = [replace(step, stage=replace(step.stage, again=again[step.stage.name])) for step in steps]
    return Work(planned, steps, shards_to_do_again(store, planned.plan, again))


def steps_of(config: Config, request: Request) -> list[Step]:
    """Return the stages that a request is about, in order; without captions the last leaves them null."""
    steps = []
    if request.render:
        settings = viewing.view_settings(config)
        steps.append(Step(viewing.view_stage(config, settings_hash(settings)), settings))
    if request.caption:
        settings = captioning.caption_settings(config)
        steps.append(Step(captioning.caption_stage(config, settings_hash(settings)), settings))
    else:
        steps.append(Step(captioning.uncaptioned_stage(), UNCAPTIONED_SETTINGS))
    return steps


def _refuse_changes(store: Store, plan: Plan, steps: list[Step], request: Request) -> None:
    """Refuse settings other than the committed ones; captions may replace captions where asked to."""
    for step in steps:
        if step.stage.name == RENDER:
            refuse_changed_settings(store, plan, RENDER, step.settings)
        elif request.caption and not request.recaption:
            anew = f"`{recaption_command(store)}` and the same --set"
            advice = f"Set them back, or write all captions anew with {anew}."
            refuse_changed_settings(store, plan, CAPTION, step.settings, also_fine=UNCAPTIONED, advice=advice)


def _todo(store: Store, plan: Plan, steps: list[Step], request: Request) -> dict[StageName, list[int]]:
    """List for each stage the shards it still has to do."""
    shards = slice_shards(plan.shards, request.part) if request.part else list(plan.shards)
    todo: dict[StageName, list[int]] = {step.stage.name: [] for step in steps}
    for shard in shards:
        rendered = store.find_commit(RENDER, shard) is not None
        if request.render and not rendered:
            todo[RENDER].append(shard.index)
        settings = steps[-1].stage.settings
        if (rendered or request.render) and not _captioned(store, shard, settings, rendered=rendered):
            todo[CAPTION].append(shard.index)
    return todo


def _captioned(store: Store, shard: Shard, settings: str, *, rendered: bool) -> bool:
    """Tell whether a shard's data is what these settings ask for; null captions never replace others.

    Data is looked at once more where the views, though the data stands, are not `rendered` any more: what
    failed to render then may be there now.
    """
    commit = store.find_commit(CAPTION, shard)
    if commit is None or (settings not in (commit.settings, UNCAPTIONED)):
        return False
    return commit.settings != settings or (rendered and not store.is_outdated(commit))
