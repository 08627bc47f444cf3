"""From the configured sources to a plan on disk, and the refusal of whatever contradicts the old one."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from mvcap import files, plugins
from mvcap.commits import CAPTION, RENDER, UNCAPTIONED, StageName
from mvcap.config import Config, SourceConfig, difference, settings_hash
from mvcap.errors import (
    ConfigChangedError,
    CorruptDatasetError,
    EmptyInputError,
    OutputError,
    UsageError,
)
from mvcap.holds import Hold
from mvcap.leaks import Leaks
from mvcap.plan import Plan
from mvcap.records import Rejected, SelectedObject
from mvcap.redaction import redacted_values
from mvcap.storage import Store
from pipelines.importing import gives_pictures
from pipelines.leak_free import Planned, extend_without_leaks

ADVICE = "Set them back, or build into another folder with --out."

OWNED: dict[StageName, tuple[str, ...]] = {
    RENDER: ("name", "seed", "sources", "filter", "plan", "render", "run"),
    CAPTION: ("captions",),
}
"""Sections of the recorded configuration that a stage decides; it leaves the others as they are."""

NAMED_OBJECTS = 5
"""Changed objects that a refusal names one by one."""

MOVABLE = frozenset({"asset", "asset_bytes", "name"})
"""Fields of an object that may change between runs: a folder of models may move."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the sources gave."""

    objects: dict[str, SelectedObject]
    rejected: tuple[Rejected, ...]


def list_objects(config: Config) -> Listing:
    """List every object of the configured sources once.

    Raises:
        EmptyInputError: there is not one.
        UsageError: one uid stands for two different objects.
    """
    objects: dict[str, SelectedObject] = {}
    rejected: dict[str, Rejected] = {}
    for section in config.sources:
        source = plugins.load("mvcap.sources", section.source)
        for item in source.list_objects(section.options):
            if isinstance(item, Rejected):
                rejected[item.uid] = item
            elif objects.setdefault(item.uid, item) != item:
                raise UsageError(f"two objects share the uid {item.uid}:\n  {objects[item.uid]}\n  {item}")
    if not objects:
        raise EmptyInputError(_nothing_found(config, len(rejected)))
    return Listing(objects, tuple(rejected.values()))


def refuse_place(config: Config, store: Store) -> None:
    """Refuse a place that has rows of another dataset, or lies inside what is to be read.

    Readers take all of `data/` for one dataset; and a dataset's own pictures would become objects of it. One
    of models that was begun among them goes on, for it holds none.

    Raises:
        OutputError: with the folder.
    """
    place = store.root
    if store.read_plan() is None and files.list_files(place / "data"):
        raise OutputError(
            f"{place / 'data'} holds files, and no dataset of mvcap that they are of: readers would take "
            "them for a part of the new one; choose another folder with --out, or move them away"
        )
    for section in config.sources:
        folder = getattr(section.options, "path", None)
        if not isinstance(folder, Path) or not isinstance(place, Path):
            continue
        if not place.resolve().is_relative_to(folder.expanduser().resolve()):
            continue
        if store.read_plan() is None:
            raise OutputError(
                f"{place} lies in {folder}, which is read: choose a folder outside of it with --out"
            )
        if gives_pictures(section):
            raise OutputError(
                f"{place} lies in {folder}, which is read: its own pictures would become objects; move it "
                "out of there, and name its new place with --out"
            )


def _nothing_found(config: Config, rejected: int) -> str:
    if not config.sources:
        return "0 objects: no source is configured; give --models FOLDER or --config NAME"
    named = ", ".join(_named(section) for section in config.sources)
    also = f"; {rejected} were named but do not exist" if rejected else ""
    return f"0 objects: nothing was found by {named}{also}{''.join(_taken(config))}"


def _taken(config: Config) -> Iterator[str]:
    """Say of each source that takes files by their names which ones it takes."""
    for name in dict.fromkeys(section.source for section in config.sources):
        if suffixes := getattr(plugins.load("mvcap.sources", name), "SUFFIXES", None):
            yield f"; {name} takes {', '.join(sorted(suffixes))}"


def _named(section: SourceConfig) -> str:
    """Name a source and whatever of its options was set, in the words of the configuration."""
    options = section.options
    plain = (
        options.model_dump(mode="json", exclude_defaults=True) if isinstance(options, BaseModel) else options
    )
    return " ".join([section.source, *(f"{name} {value}" for name, value in plain.items())])


def plan_objects(config: Config, previous: Plan | None, listing: Listing, store: Store) -> Planned:
    """Extend the dataset's plan by new objects; old shards stay as they are.

    Raises:
        ConfigChangedError: the plan was made with other settings, or an object in it has changed.
        UsageError: an evaluation object, or one with the same asset, is in the training split already; or
            the list of evaluation objects cannot be read.
    """
    wanted = Plan(config.seed, config.plan.objects_per_shard, dict(config.plan.splits))
    planned = {item.uid: item for item in _planned_objects(store)}
    if previous:
        if changed := difference(plan_settings(previous), plan_settings(wanted)):
            raise ConfigChangedError("plan", changed, ADVICE)
        _refuse_changed_objects(planned.values(), listing)
    return extend_without_leaks(previous or wanted, listing.objects, planned, config.plan, store)


def _planned_objects(store: Store) -> list[SelectedObject]:
    """Read the planned objects where their file is there; `save_plan` replaces one that is lost."""
    return store.read_objects() if files.exists(store.objects_path) else []


def _refuse_changed_objects(planned: Iterable[SelectedObject], listing: Listing) -> None:
    changed: dict[str, dict[str, tuple[Any, Any]]] = {}
    for item in planned:
        now = listing.objects.get(item.uid)
        if now and (fields := difference(lasting_fields(item), lasting_fields(now))):
            changed[item.record.source_id] = fields
    if changed:
        named = {
            f"{source_id}: {name}": values
            for source_id, fields in list(changed.items())[:NAMED_OBJECTS]
            for name, values in fields.items()
        }
        more = (
            f"... and {len(changed) - NAMED_OBJECTS} more objects. " if len(changed) > NAMED_OBJECTS else ""
        )
        raise ConfigChangedError("plan", named, more + ADVICE)


def plan_settings(plan: Plan) -> dict[str, Any]:
    """Return what decides into which shard and split an object goes."""
    return {"seed": plan.seed, "objects_per_shard": plan.objects_per_shard, "splits": dict(plan.splits)}


def lasting_fields(item: SelectedObject) -> dict[str, Any]:
    """Return what must stay as it is of a planned object."""
    record = {name: value for name, value in asdict(item.record).items() if name not in MOVABLE}
    return {"category": item.category, **record}


def save_plan(store: Store, plan: Plan, listing: Listing, leaks: Leaks) -> None:
    """Write the plan and its record of leaks unless they stand on disk already.

    Objects that vanished from the sources are written as well, and are no failures for that.

    Raises:
        CorruptDatasetError: an object of the plan is neither on disk nor in the sources any more.
    """
    planned = {item.uid: item for item in _planned_objects(store)}
    objects = planned | listing.objects
    uids = [uid for shard in plan.shards for uid in shard.uids]
    if lost := [uid for uid in uids if uid not in objects]:
        raise CorruptDatasetError(
            f"{store.objects_path} is lost, and the sources no longer name {len(lost)} of the plan's objects "
            f"(the first is {lost[0]}); build with the sources the dataset was begun with"
        )
    inside = set(uids)
    rejected = tuple(item for item in listing.rejected if item.uid not in inside)
    unchanged = (
        store.read_plan() == plan
        and files.exists(store.listing_failures_path)
        and tuple(store.read_listing_failures()) == rejected
        and {uid: objects[uid] for uid in uids} == planned
        and files.exists(store.leaks_path)
        and store.read_leaks() == leaks
    )
    if not unchanged:
        store.write_plan(plan, objects.values(), rejected, leaks)


def refuse_changed_settings(
    store: Store,
    plan: Plan,
    stage: StageName,
    settings: Mapping[str, Any],
    *,
    also_fine: str | None = None,
    advice: str = ADVICE,
) -> None:
    """Refuse to mix shards of one stage that were made with different settings.

    Args:
        also_fine: hash of settings whose shards may be taken further.

    Raises:
        ConfigChangedError: with every setting that differs.
    """
    fine = {settings_hash(settings), also_fine}
    for shard in plan.shards:
        commit = store.read_commit(stage, shard.index)
        if commit and commit.settings not in fine:
            changed = difference(store.settings(stage, commit.settings), settings)
            raise ConfigChangedError(stage, changed, _schema_advice(store, stage, changed) or advice)


def recaption_command(store: Store) -> str:
    """Name the command that writes all captions anew; with settings if they are to change."""
    return shlex.join(["mvcap", "caption", str(store.root), "--recaption"])


def _schema_advice(store: Store, stage: StageName, changed: Mapping[str, tuple[Any, Any]]) -> str | None:
    """Advise where no setting can be set back, because the version of mvcap decides."""
    if "schema" not in changed:
        return None
    then, now = changed["schema"]
    anew = "build into another folder with --out"
    if stage == CAPTION:
        anew = f"write all captions anew with `{recaption_command(store)}`"
    return (
        f"This mvcap writes schema {now}, which no setting changes: {anew}, "
        f"or go on with the mvcap that wrote schema {then}."
    )


def refuse_other_slices(store: Store, chosen: Mapping[StageName, str], hold: Hold) -> None:
    """Refuse settings other than those that a slice at work has chosen; call it inside `hold.choosing`.

    Raises:
        ConfigChangedError: with every setting that differs, and who is at work.
    """
    for slice_ in hold.slices_at_work():
        for stage, digest in chosen.items():
            other = slice_.facts.get("settings", {}).get(stage, digest)
            if other != digest and UNCAPTIONED not in (other, digest) and slice_.lives():
                changed = difference(store.settings(stage, other), store.settings(stage, digest))
                who = f"process {slice_.facts.get('pid')} on {slice_.facts.get('host')}"
                advice = f"Another slice ({who}) is at work with them: choose the same, or wait for its end."
                raise ConfigChangedError(stage, changed, advice)


def save_config(
    store: Store, config: Config, hashes: Mapping[StageName, str], *, ran: Iterable[StageName]
) -> None:
    """Keep the resolved configuration, with a hash for each stage, for people and for later commands.

    Args:
        ran: stages whose sections are replaced; the others stay as recorded, where they are.
    """
    previous = store.read_config()
    present = config.model_dump(mode="json")
    ran = set(ran)
    owned = {name for stage in ran for name in OWNED[stage]}
    merged = {
        name: value if name in owned else previous["config"].get(name, value)
        for name, value in present.items()
    }
    own = {stage: digest for stage, digest in hashes.items() if stage in ran}
    content = {"config": redacted_values(merged), "stages": {**hashes, **previous["stages"], **own}}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    path = store.config_path
    if not files.exists(path) or files.read_bytes(path) != text:
        files.write_bytes(path, text)


def saved_settings(store: Store) -> dict[str, Any]:
    """Read back the configuration that a dataset was built with.

    Raises:
        OutputError: the folder holds none.
        CorruptDatasetError: it is damaged.
    """
    if not files.exists(store.config_path):
        raise store.no_dataset(str(store.name_of(store.config_path)))
    return dict(store.read_config()["config"])
