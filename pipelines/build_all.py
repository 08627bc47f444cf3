"""Objects in, a captioned multi-view dataset out: the pipeline, top to bottom."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mvcap import files
from mvcap.commits import CAPTION, RENDER, STAGES, UNCAPTIONED, StageName
from mvcap.config import Config, settings_hash
from mvcap.errors import NothingSurvivedError
from mvcap.holds import Hold
from mvcap.plan import Plan
from mvcap.quantities import by_number, quantity
from mvcap.storage import Store
from pipelines import captioning, fetching, renderer_versions, rendering, viewing
from pipelines.finish import finish
from pipelines.in_flight import InFlight
from pipelines.leak_free import Planned
from pipelines.ledger import Ledger
from pipelines.logged_worker import logged
from pipelines.planning import (
    Listing,
    list_objects,
    refuse_other_slices,
    refuse_place,
    save_config,
    save_plan,
)
from pipelines.progress import observing
from pipelines.reads import files_read
from pipelines.removing import purge_removed
from pipelines.renderer_versions import Versions, committed_versions, refuse_other_versions, versions_of
from pipelines.room import room_told
from pipelines.shards import lacks_captions
from pipelines.stages import Runner, Stage
from pipelines.surveying import Outcome, survey
from pipelines.todo import Request, Work, choose_work, steps_of
from pipelines.worker_log import forget_old_logs, log_folder

ASSUMED_BYTES_PER_PIXEL = 1.0
"""Of a view, until the first shard is rendered; ten times what `pipelines/rates.py` has of JPEGs."""


def build(config: Config, request: Request, runner: Runner, say: Callable[[str], None]) -> Outcome:
    """Build, or finish building, a dataset; a finished one is left untouched.

    Raises:
        UsageError: something must change before any work can start.
        NothingSurvivedError: every object was rejected.
        MvcapError: whatever ended the run; the same command goes on from the committed shards.
    """
    store = Store(request.out)
    listing = None
    if request.render and request.again is None:
        refuse_place(config, store)
        listing = _list(config, store, runner, say)
    files.require_writable(request.out)
    with store.lock(request.part, steal=request.steal_lock, tell=say) as hold:
        steps = steps_of(config, request)
        with store.fetched():
            work = choose_work(config, store, listing, request, steps)
            _say_what_is_missing(store, work.plan, request, say)
            _say_what_is_unknown(work.planned, say)
            if not any(work.todo.values()):
                if request.part is None:
                    _clear(config, store, work.plan)
                _restore(config, store, listing, work)
        if any(work.todo.values()):
            renderer = _check_tools(config, store, request, work, listing)
            with hold.choosing(), store.fetched():
                work = choose_work(config, store, listing, request, steps)  # another slice may be ahead
                _record(config, store, listing, request, work, hold, renderer)
            stages = _knowing_the_plan(config, store, work, renderer)
            _run(config, store, work.plan, stages, work.todo, runner, say)
        with hold.finishing() as alone, store.fetched():
            plan = store.require_plan()  # another slice may have added objects
            outcome = survey(store, plan)
            if not alone:
                outcome = replace(outcome, complete=False)
            if outcome.complete and finish(store, plan, outcome, _under_its_name(store, config)):
                say(f"wrote {request.out}")
    if outcome.complete and not outcome.views:
        counted = ", ".join(f"{count} x {reason}" for reason, count in outcome.reasons.most_common())
        failed = by_number(outcome.objects, "the only object", f"all {outcome.objects} objects")
        first = outcome.failures[0]
        why = next(iter(first.message.splitlines()), "")
        raise NothingSurvivedError(
            f"{failed} failed: {counted}\nthe first, {first.uid}: {why}\n"
            f"{request.out}/failures.parquet has all of them with their logs, and so has the report"
        )
    return outcome


def _list(config: Config, store: Store, runner: Runner, say: Callable[[str], None]) -> Listing:
    """List what is to be rendered: everything, or what the filter lets through."""
    if config.filter is None:
        return list_objects(config)
    from pipelines.filtering import list_clear_objects  # brings the hub's client

    return list_clear_objects(config, store, runner, say)


def _record(
    config: Config,
    store: Store,
    listing: Listing | None,
    request: Request,
    work: Work,
    hold: Hold,
    renderer: Versions | None,
) -> None:
    """Put plan and settings on disk before any work; slices choose one after another."""
    if renderer:
        refuse_other_versions(config, renderer, committed_versions(store, work.plan))
        renderer_versions.refuse_other_slices(config, renderer, hold)
    hashes = {step.stage.name: store.remember_settings(step.stage.name, step.settings) for step in work.steps}
    if request.part is None:
        _clear(config, store, work.plan)
    else:
        refuse_other_slices(store, hashes, hold)
    hold.announce(settings=hashes, renderer=versions_of(renderer or {}))
    if listing:
        save_plan(store, work.plan, listing, work.planned.leaks)
    if request.again is None:
        save_config(store, config, hashes, ran=_ran(request))


def _clear(config: Config, store: Store, plan: Plan) -> None:
    """Remove what killed runs left behind, and what they had no time to remove."""
    store.clear_attempts()
    purge_removed(store, plan)
    for shard in plan.shards:
        commit = store.find_commit(CAPTION, shard)
        if commit and commit.file is None:
            files.delete(store.target(CAPTION, shard))  # of an earlier commit
        if config.run.keep_views:
            continue
        if commit and not lacks_captions(commit) and not store.is_outdated(commit):
            store.drop_views(shard)


def _ran(request: Request) -> list[StageName]:
    wanted: dict[StageName, bool] = {RENDER: request.render, CAPTION: request.caption}
    return [stage for stage, ran in wanted.items() if ran]


def _restore(config: Config, store: Store, listing: Listing | None, work: Work) -> None:
    """Write again what a finished dataset has lost of its own records; intact ones stay as they are."""
    kept = files.exists(store.objects_path) and files.exists(store.listing_failures_path)
    if listing and not (kept and store.read_leaks() == work.planned.leaks):
        save_plan(store, work.plan, listing, work.planned.leaks)
    hashes = {step.stage.name: settings_hash(step.settings) for step in work.steps}
    for step in work.steps:
        commits = store.read_commits(work.plan, step.stage.name)
        if any(commit.settings == step.stage.settings for commit in commits):
            store.remember_settings(step.stage.name, step.settings)
    if listing and not files.exists(store.config_path):
        save_config(store, config, hashes, ran=STAGES)


def _under_its_name(store: Store, config: Config) -> Config:
    """Keep the dataset's name, which another configuration for the captions does not change."""
    recorded = store.read_config()["config"]
    return config.model_copy(update={"name": recorded.get("name", config.name)})


def _say_what_is_missing(store: Store, plan: Plan, request: Request, say: Callable[[str], None]) -> None:
    if request.render:
        return
    if missing := sum(store.find_commit(RENDER, shard) is None for shard in plan.shards):
        some = f"{missing} of {quantity(len(plan.shards), 'shard')} {by_number(missing, 'is', 'are')}"
        say(f"{some} not rendered yet; `mvcap render` renders them")


def _say_what_is_unknown(planned: Planned, say: Callable[[str], None]) -> None:
    if unknown := planned.leaks.unknown:
        first = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        say(
            f"{len(unknown)} of {planned.leaks.entries} entries of plan.evaluation name no object of the "
            f"sources: {first}"
        )


def _check_tools(
    config: Config, store: Store, request: Request, work: Work, listing: Listing | None
) -> Versions | None:
    """Find out what is missing before the first picture is rendered; return a renderer's versions, if any."""
    versions = None
    if request.caption and work.todo[CAPTION]:
        captioning.check_captioner(config)
    to_render = work.todo.get(RENDER)
    if to_render and viewing.renders(config):
        versions = rendering.check_renderer(config)
        listed = listing.objects if listing else {item.uid: item for item in store.read_objects()}
        planned = (uid for index in to_render for uid in work.plan.shards[index].uids)
        fetching.check_fetchers(config, (listed[uid] for uid in planned if uid in listed))
    return versions


def _knowing_the_plan(
    config: Config, store: Store, work: Work, renderer: Versions | None
) -> list[Stage[Any, Any]]:
    """Tell the stages what follows from all the plan's objects, and renderers which version they must be.

    Captioners know all categories, for what a caption names must not depend on its shard.
    """
    stages = [step.stage for step in work.steps]
    if renderer:
        same = viewing.view_stage(config, stages[0].settings, renderer)
        stages[0] = replace(same, again=stages[0].again)
    objects = store.read_objects()
    if work.todo[CAPTION] and stages[-1].settings != UNCAPTIONED:
        vocabulary = captioning.dataset_vocabulary(config, {item.category for item in objects})
        knowing = captioning.caption_stage(config, stages[-1].settings, vocabulary)
        stages[-1] = replace(knowing, again=stages[-1].again)
    reads = files_read(config, objects)
    return [replace(stage, reads=reads[stage.name] if work.todo[stage.name] else ()) for stage in stages]


def _run(
    config: Config,
    store: Store,
    plan: Plan,
    stages: list[Stage[Any, Any]],
    todo: Mapping[StageName, list[int]],
    runner: Runner,
    say: Callable[[str], None],
) -> None:
    views_of = _views_to_come(config, store, todo)
    again = frozenset[str]().union(*(stage.again for stage in stages))
    totals = {
        name: sum(map(views_of, again)) if again else _expected_views(views_of, store, plan, indices)
        for name, indices in todo.items()
    }
    ledger = Ledger(
        todo,
        in_flight=_in_flight(config, store, plan, views_of),
        objects_of=lambda shard: plan.shards[shard].uids,
    )
    labels = viewing.stage_labels(config) if RENDER in todo else {}
    silent = {stage.name for stage in stages if stage.settings == UNCAPTIONED}  # it writes no caption
    shown = {name: total for name, total in totals.items() if name not in silent}
    if config.run.logs:
        forget_old_logs(log_folder(store.root))
        stages = [stage if stage.settings == UNCAPTIONED else logged(stage, store.root) for stage in stages]
    guarded = [replace(stage, guard=store.guard) for stage in stages]
    with (
        room_told(config, store, plan, todo[CAPTION], lambda shard: sum(map(views_of, shard.uids)), say),
        observing(shown, labels=labels) as observer,
    ):
        runner.run(guarded, store.root, ledger, observer)


def _in_flight(config: Config, store: Store, plan: Plan, views_of: Callable[[str], int]) -> InFlight:
    """Bound the rendered views that wait for captions: by half of the free disk, if nobody says otherwise."""
    limit = config.run.gb_in_flight
    if limit is None and isinstance(store.root, Path):
        limit = shutil.disk_usage(store.root).free / 2 / 1e9
    return InFlight(
        limit_bytes=None if limit is None else limit * 1e9,
        limit_shards=config.run.shards_in_flight,
        views_of=lambda shard: sum(map(views_of, plan.shards[shard].uids)),
        view_bytes=config.render.resolution**2 * ASSUMED_BYTES_PER_PIXEL,
    )


def _views_to_come(config: Config, store: Store, todo: Mapping[StageName, list[int]]) -> Callable[[str], int]:
    """Tell how many views an object is to have, if all goes well."""
    if not (todo.get(RENDER) and viewing.imports(config)):
        return lambda uid: config.render.views
    count = viewing.expected_views(config)
    counts = {item.uid: count(item) for item in store.read_objects()}
    return lambda uid: counts.get(uid, 1)


def _expected_views(views_of: Callable[[str], int], store: Store, plan: Plan, indices: list[int]) -> int:
    """Count the views of shards: exactly where they are there, as expected where not."""
    commits = {index: store.read_commit(RENDER, index) for index in indices}
    return sum(
        commit.rows if (commit := commits[index]) else sum(map(views_of, plan.shards[index].uids))
        for index in indices
    )
