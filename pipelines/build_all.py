"""Objects in, a captioned multi-view dataset out: the pipeline, top to bottom."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvcap.commits import CAPTION, RENDER, StageName
from mvcap.config import Config, settings_hash
from mvcap.errors import NothingSurvivedError
from mvcap.locks import Part, dataset_lock
from mvcap.plan import Plan, Shard, slice_shards
from mvcap.storage import Store
from pipelines import captioning, rendering
from pipelines.captioning import UNCAPTIONED
from pipelines.finish import Outcome, finish, survey
from pipelines.ledger import Ledger
from pipelines.planning import (
    list_objects,
    plan_objects,
    refuse_changed_settings,
    require_writable,
    save_config,
    save_plan,
)
from pipelines.progress import observing
from pipelines.stages import Runner, Stage

RECAPTION_ADVICE = "Set them back, or write all captions anew with `mvcap caption DIR --recaption`."
DEFAULT_IN_FLIGHT = 64
"""Shards started and not finished; each holds at most its views on disk, and nothing in the driver."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a command asks of the pipeline."""

    out: Path
    render: bool = True
    """List objects and render them; otherwise take the dataset as it stands."""
    caption: bool = True
    """Write captions; otherwise leave them null where there are none."""
    recaption: bool = False
    """Replace captions that were made with other settings."""
    part: Part | None = None
    """Slice K of N of the shards; None for all."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage and the settings it stands for."""

    stage: Stage[Any, Any]
    settings: Mapping[str, Any]


def build(config: Config, request: Request, runner: Runner, say: Callable[[str], None]) -> Outcome:
    """Build, or finish building, a dataset; a finished one is left untouched.

    Raises:
        UsageError: something must change before any work can start.
        NothingSurvivedError: every object was rejected.
        MvcapError: whatever ended the run; the same command goes on from the committed shards.
    """
    store = Store(request.out)
    listing = list_objects(config) if request.render else None
    require_writable(request.out)
    with dataset_lock(store.internal, request.part) as announce:
        plan = plan_objects(config, store.read_plan(), listing, store) if listing else store.require_plan()
        steps = _steps(config, request)
        _refuse_changes(store, plan, steps, request)
        todo = _todo(store, plan, steps, request)
        if any(todo.values()):
            _check_tools(config, request, todo)
            announce()
            if request.part is None:
                store.clear_attempts()
            if listing:
                save_plan(store, plan, listing)
            _save_settings(store, config, steps)
            _run(config, store, plan, steps, todo, runner)
        outcome = survey(store, plan)
        if outcome.complete and finish(store, plan, outcome, config):
            say(f"wrote {request.out}")
    if outcome.complete and not outcome.views:
        counted = ", ".join(f"{count} x {reason}" for reason, count in outcome.reasons.most_common())
        raise NothingSurvivedError(f"all {outcome.objects} objects failed: {counted}")
    return outcome


def _steps(config: Config, request: Request) -> list[Step]:
    steps = []
    if request.render:
        settings = rendering.render_settings(config)
        steps.append(Step(rendering.render_stage(config, settings_hash(settings)), settings))
    if request.caption:
        settings = captioning.caption_settings(config)
        steps.append(Step(captioning.caption_stage(config, settings_hash(settings)), settings))
    else:
        steps.append(Step(captioning.uncaptioned_stage(), captioning.UNCAPTIONED_SETTINGS))
    return steps


def _refuse_changes(store: Store, plan: Plan, steps: list[Step], request: Request) -> None:
    """Refuse settings other than the committed ones; captions may replace captions where asked to."""
    for step in steps:
        if step.stage.name == RENDER:
            refuse_changed_settings(store, plan, RENDER, step.settings)
        elif request.caption and not request.recaption:
            refuse_changed_settings(
                store, plan, CAPTION, step.settings, also_fine=UNCAPTIONED, advice=RECAPTION_ADVICE
            )


def _todo(store: Store, plan: Plan, steps: list[Step], request: Request) -> dict[StageName, list[int]]:
    """List for each stage the shards it still has to do."""
    shards = slice_shards(plan.shards, request.part) if request.part else list(plan.shards)
    todo: dict[StageName, list[int]] = {step.stage.name: [] for step in steps}
    for shard in shards:
        rendered = store.find_commit(RENDER, shard) is not None
        if request.render and not rendered:
            todo[RENDER].append(shard.index)
        if (rendered or request.render) and not _captioned(store, shard, steps[-1].stage.settings):
            todo[CAPTION].append(shard.index)
    return todo


def _captioned(store: Store, shard: Shard, settings: str) -> bool:
    """Tell whether a shard's data is what these settings ask for; null captions never replace others."""
    commit = store.find_commit(CAPTION, shard)
    return commit is not None and (settings in (commit.settings, UNCAPTIONED))


def _check_tools(config: Config, request: Request, todo: Mapping[StageName, list[int]]) -> None:
    """Find out what is missing before the first picture is rendered."""
    if request.caption and todo[CAPTION]:
        captioning.check_captioner(config)
    if todo.get(RENDER):
        rendering.check_renderer(config)


def _save_settings(store: Store, config: Config, steps: list[Step]) -> None:
    hashes = {str(step.stage.name): store.remember_settings(step.stage.name, step.settings) for step in steps}
    save_config(store, config, hashes)


def _run(
    config: Config,
    store: Store,
    plan: Plan,
    steps: list[Step],
    todo: Mapping[StageName, list[int]],
    runner: Runner,
) -> None:
    totals = {name: _expected_views(config, store, plan, indices) for name, indices in todo.items()}
    ledger = Ledger(todo, in_flight=config.run.shards_in_flight or DEFAULT_IN_FLIGHT)
    with observing(totals) as observer:
        runner.run([step.stage for step in steps], store.root, ledger, observer)


def _expected_views(config: Config, store: Store, plan: Plan, indices: list[int]) -> int:
    """Count the views of shards: exactly where they are rendered, as configured where not."""
    commits = {index: store.read_commit(RENDER, index) for index in indices}
    return sum(
        commit.rows if (commit := commits[index]) else len(plan.shards[index].uids) * config.render.views
        for index in indices
    )
