"""Join finished datasets of equal settings into one: shards get new numbers and keep their bytes.

The plan is the first dataset's, grown by the others' shards. A shard of which an earlier dataset holds some
objects already is written without them; one of which it holds all is left out.
"""

import json
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import track

from mvcap import files, plugins, recipes, schema
from mvcap.commits import CAPTION, RENDER, STAGES, Commit, StageName
from mvcap.errors import CorruptDatasetError, OutputError, UsageError
from mvcap.leaks import Leaks
from mvcap.local_files import link_or_copy
from mvcap.places import Place
from mvcap.plan import Plan, Shard
from mvcap.quantities import by_number, quantity
from mvcap.records import Rejected, SelectedObject
from mvcap.rows import in_present_schema
from mvcap.storage import INTERNAL, Store
from mvcap.tables import TableWriter
from pipelines.finish import finish
from pipelines.leak_free import rendered_assets
from pipelines.merge_checks import (
    Part,
    count_shared,
    digest_of,
    refuse_learnt_evaluation,
    refuse_unlike,
)
from pipelines.planning import OWNED, saved_settings
from pipelines.removing import purge_removed, told_of, without_objects
from pipelines.rewriting import carried
from pipelines.surveying import Outcome, survey


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a shard of the joined dataset comes from."""

    part: Part
    shard: Shard


def merge_datasets(
    roots: Sequence[Place],
    out: Place,
    say: Callable[[str], None],
    *,
    mixed_renderers: bool = False,
    steal_lock: bool = False,
) -> Outcome:
    """Join datasets; the same call goes on after an interruption, and does nothing once all is done.

    Args:
        mixed_renderers: whether they may have been rendered by different versions.

    Raises:
        UsageError: they cannot be joined, or `out` holds something else.
        OutputError: one of them is no dataset, or `out` cannot be written.
        DatasetLockedError: a driver is at work on one of them.
        CorruptDatasetError: a shard is not what its commit says.
    """
    folders, target = _require_folders(roots, out)
    with ExitStack() as locks:
        for folder in folders:
            _lock_source(locks, Store(folder))
        parts = [Part.open(folder) for folder in folders]
        refuse_unlike(parts, mixed_renderers=mixed_renderers)
        shared = count_shared(parts)
        plan, origins = joined_plan(parts)
        refuse_learnt_evaluation(parts, plan)
        _refuse_other_content(target, plan)
        files.require_writable(target)
        store = Store(target)
        hold = locks.enter_context(store.lock(None, steal=steal_lock, tell=say))
        if not _is_joined(store, plan):
            hold.announce()
            _record(store, plan, parts)
            terminal = Console(stderr=True)
            silent = not terminal.is_terminal
            for shard in track(plan.shards, "joining shards", console=terminal, disable=silent):
                _join_shard(store, shard, origins[shard.index])
        store.clear_attempts()
        purge_removed(store, plan)
        outcome = survey(store, plan)
        config = recipes.build_config(saved_settings(store), plugins.options_model, captions=False)
        finish(store, plan, outcome, config)
    if shared:
        stand = by_number(shared, "stands", "stand")
        say(f"{quantity(shared, 'object')} {stand} in several of them, all alike: each is kept once")
    if outcome.uncaptioned and (captioned := _first_captioned(parts)):
        have = by_number(outcome.uncaptioned, "has", "have")
        command = shlex.join(["mvcap", "caption", str(out)])
        say(
            f"{quantity(outcome.uncaptioned, 'view')} {have} no caption yet; `{command}` writes them "
            f"with the settings of {captioned.root}"
        )
    return outcome


def joined_plan(parts: Sequence[Part]) -> tuple[Plan, list[Origin]]:
    """Number the shards of all datasets through; the first one's keep their numbers and names."""
    shards: list[Shard] = []
    origins: list[Origin] = []
    seen: set[str] = set()
    for part in parts:
        kept = [
            (shard, uids)
            for shard in part.plan.shards
            if (uids := tuple(uid for uid in shard.uids if uid not in seen))
        ]
        total = len(shards) + len(kept)
        for shard, uids in kept:
            planned = shard.planned_total if part is parts[0] else total
            shards.append(Shard(len(shards), shard.split, planned, uids))
            origins.append(Origin(part, shard))
        seen |= {uid for _, uids in kept for uid in uids}
    first = parts[0].plan
    return Plan(first.seed, first.objects_per_shard, first.splits, tuple(shards)), origins


def _require_folders(roots: Sequence[Place], out: Place) -> tuple[list[Path], Path]:
    folders = [place for place in (*roots, out) if isinstance(place, Path)]
    if len(folders) <= len(roots):
        raise UsageError("only folders can be joined: copy what lies in storage first (`aws s3 sync`)")
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("a dataset is named twice; give each once, and a new folder with --out")
    if len(roots) < 2:
        raise UsageError("name at least two datasets to join")
    for folder, place in zip(folders, resolved[:-1], strict=False):
        if resolved[-1].is_relative_to(place):
            raise UsageError(
                f"{out} lies in {folder}, which stays as it is: choose a folder beside it with --out"
            )
    return folders[:-1], folders[-1]


def _lock_source(locks: ExitStack, store: Store) -> None:
    """Keep drivers away from a dataset while it is read; one that cannot be written has none."""
    store.require_plan()
    try:
        locks.enter_context(store.lock(None))
    except OutputError:
        return


def _refuse_other_content(target: Path, plan: Plan) -> None:
    """Refuse a folder that holds anything but what this very merge has begun."""
    there = Store(target).read_plan()
    if there and there != plan:
        raise UsageError(
            f"{target} holds another dataset, or has grown since it was joined; "
            "choose a new folder with --out, or give the same datasets in the same order"
        )
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file: choose a new folder with --out")
    begun = (INTERNAL, *(path.name for path in target.glob(f"{files.TEMPORARY}*")))
    if there is None and target.exists() and any(path.name not in begun for path in target.iterdir()):
        raise OutputError(f"{target} is in use: choose a new folder with --out")


def _is_joined(store: Store, plan: Plan) -> bool:
    return store.read_plan() == plan and all(
        store.find_commit(stage, shard) for shard in plan.shards for stage in STAGES
    )


def _record(store: Store, plan: Plan, parts: Sequence[Part]) -> None:
    """Put everything on disk that is not a shard, the plan last; what stands there beside one stays."""
    begun = store.read_plan() is not None
    removals = store.read_removals() if begun else {}
    for part in parts:
        removals = {**part.removed, **removals}
        for stage, digest in sorted(_settings_in_use(part)):
            if settings := part.store.settings(stage, digest):
                store.remember_settings(stage, settings)
    if removals != store.read_removals():
        store.write_removals(removals)
    if not (begun and files.exists(store.config_path)):
        files.write_bytes(store.config_path, _joined_config(parts))
    if store.read_plan() != plan:
        objects: dict[str, SelectedObject] = {}
        listing: dict[str, Rejected] = {}
        for part in parts:
            objects = {**part.objects, **objects}
            listing = {**{item.uid: item for item in part.store.read_listing_failures()}, **listing}
        failed = [item for uid, item in listing.items() if uid not in objects]
        store.write_plan(plan, objects.values(), failed, _joined_leaks(parts, objects.keys()))


def _settings_in_use(part: Part) -> set[tuple[StageName, str]]:
    return {(commit.stage, commit.settings) for commit in part.store.read_commits(part.plan, *STAGES)}


def _joined_config(parts: Sequence[Part]) -> bytes:
    """Return the first dataset's configuration with the sources of all, and how captions were written.

    The first dataset may have no captions: views without any are to get such as the others have.
    """
    recorded = [part.store.read_config() for part in parts]
    captioned = recorded[parts.index(_first_captioned(parts) or parts[0])]
    sources = {
        json.dumps(source, sort_keys=True, default=str): source
        for content in recorded
        for source in content["config"].get("sources", ())
    }
    captions = {name: captioned["config"][name] for name in OWNED[CAPTION] if name in captioned["config"]}
    config = {**recorded[0]["config"], **captions, "sources": list(sources.values())}
    digest = {stage: digest for stage, digest in captioned["stages"].items() if stage == CAPTION}
    content = {"config": config, "stages": {**recorded[0]["stages"], **digest}}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()


def _first_captioned(parts: Sequence[Part]) -> Part | None:
    return next((part for part in parts if digest_of(part, CAPTION)), None)


def _joined_leaks(parts: Sequence[Part], planned: Collection[str]) -> Leaks:
    """Return all that any dataset keeps out of training, and the objects that share a model file."""
    leaks = [part.store.read_leaks() for part in parts]
    assets: dict[str, str] = {}
    twins: dict[str, str] = {}
    for part, own in zip(parts, leaks, strict=True):
        assets = {**rendered_assets(part.store, part.plan), **assets}
        twins = {**own.twins, **twins}
    holders: dict[str, list[str]] = {}
    for uid, asset in assets.items():
        holders.setdefault(asset, []).append(uid)
    across = {uid: asset for asset, uids in holders.items() if len(uids) > 1 for uid in uids}
    return Leaks(
        evaluation=tuple(sorted({uid for each in leaks for uid in each.evaluation})),
        left_out=tuple(sorted({uid for each in leaks for uid in each.left_out} - set(planned))),
        entries=sum(each.entries for each in leaks),
        unknown=tuple(sorted({entry for each in leaks for entry in each.unknown})),
        twins=dict(sorted({**twins, **across}.items())),
    )


def _join_shard(store: Store, shard: Shard, origin: Origin) -> None:
    """Commit a shard's data, then its views, which count for nothing without it once they are dropped."""
    for stage in (CAPTION, RENDER):
        commit = origin.part.store.read_commit(stage, origin.shard.index)
        if commit and store.find_commit(stage, shard) is None:
            _join_stage(store, shard, origin, commit)


def _join_stage(store: Store, shard: Shard, origin: Origin, commit: Commit) -> None:
    left_out = frozenset(origin.shard.uids) - frozenset(shard.uids)
    facts: dict[str, Any] = carried(commit)
    if not left_out.isdisjoint(told_of(commit)):
        facts |= without_objects(commit, left_out)
    facts |= {"generation": commit.generation, "dropped": commit.dropped}
    if left_out.isdisjoint(commit.views):
        facts["schema_version"] = commit.schema_version  # the file keeps its bytes and columns
    if commit.file is None or commit.dropped:
        store.commit(commit.stage, shard, None, **facts)
        return
    source = origin.part.root / commit.file
    with store.stage_file(commit.stage, shard) as temporary:
        rows = _copy_rows(origin.part.store, commit, source, temporary, left_out, facts["views"])
        store.commit(commit.stage, shard, temporary if rows else None, **facts)


def _copy_rows(
    store: Store,
    commit: Commit,
    source: Path,
    temporary: Path,
    left_out: frozenset[str],
    views: Mapping[str, int],
) -> bool:
    """Link or copy a shard's file, or write it without some objects; return whether it has any rows.

    Raises:
        CorruptDatasetError: the file is not what its commit says.
    """
    if not source.exists() or files.sha256_of(source) != commit.sha256:
        raise CorruptDatasetError(
            f"{source} is not what its commit says: run `mvcap verify {store.root}`, "
            "then the build that made it"
        )
    if left_out.isdisjoint(commit.views):
        link_or_copy(source, temporary)
    elif views:
        with TableWriter(temporary, schema.VIEW_SCHEMA) as writer:
            for table in store.read_rows(commit):
                if table["uid"][0].as_py() not in left_out:
                    writer.write_table(in_present_schema(table))
    return bool(views)
