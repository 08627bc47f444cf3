"""From the configured sources to a plan on disk, and the refusal of whatever contradicts the old one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

from mvcap import files, plugins
from mvcap.commits import StageName
from mvcap.config import Config, difference, settings_hash
from mvcap.errors import ConfigChangedError, EmptyInputError, OutputError, UsageError
from mvcap.plan import Plan, extend_plan
from mvcap.records import Rejected, SelectedObject
from mvcap.storage import Store

ADVICE = "Set them back, or build into another folder with --out."

MOVABLE = frozenset({"asset", "name"})
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


def _nothing_found(config: Config, rejected: int) -> str:
    if not config.sources:
        return "0 objects: no source is configured; give --models FOLDER or --config NAME"
    named = ", ".join(f"{section.source} ({section.options!r})" for section in config.sources)
    also = f"; {rejected} were named but do not exist" if rejected else ""
    return f"0 objects: nothing was found by {named}{also}"


def plan_objects(config: Config, previous: Plan | None, listing: Listing, store: Store) -> Plan:
    """Extend the dataset's plan by new objects; old shards stay as they are.

    Raises:
        ConfigChangedError: the plan was made with other settings, or an object in it has changed.
    """
    wanted = Plan(config.seed, config.plan.objects_per_shard, dict(config.plan.splits))
    if previous is None:
        return extend_plan(wanted, listing.objects)
    _refuse("plan", _plan_settings(previous), _plan_settings(wanted))
    for item in store.read_objects():
        if now := listing.objects.get(item.uid):
            _refuse("plan", _lasting_fields(item), _lasting_fields(now))
    return extend_plan(previous, listing.objects)


def _plan_settings(plan: Plan) -> dict[str, Any]:
    return {"seed": plan.seed, "objects_per_shard": plan.objects_per_shard, "splits": dict(plan.splits)}


def _lasting_fields(item: SelectedObject) -> dict[str, Any]:
    record = {name: value for name, value in asdict(item.record).items() if name not in MOVABLE}
    return {"category": item.category, **record}


def _refuse(what: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    if changed := difference(old, new):
        raise ConfigChangedError(what, changed, ADVICE)


def save_plan(store: Store, plan: Plan, listing: Listing) -> None:
    """Write the plan unless it stands on disk already, objects that vanished from the sources included."""
    objects = {item.uid: item for item in store.read_objects()} | listing.objects
    unchanged = (
        store.read_plan() == plan
        and tuple(store.read_listing_failures()) == listing.rejected
        and all(objects[item.uid] == item for item in store.read_objects())
    )
    if not unchanged:
        store.write_plan(plan, objects.values(), listing.rejected)


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
            raise ConfigChangedError(stage, changed, advice)


def save_config(store: Store, config: Config, hashes: dict[str, str]) -> None:
    """Keep the resolved configuration, with a hash for each stage, for people and for later commands."""
    content = {"config": config.model_dump(mode="json"), "stages": hashes}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode()
    path = store.internal / "config.yaml"
    if not path.exists() or path.read_bytes() != text:
        files.write_bytes(path, text)


def saved_settings(store: Store) -> dict[str, Any]:
    """Read back the configuration that a dataset was built with.

    Raises:
        OutputError: the folder holds none.
    """
    path = store.internal / "config.yaml"
    if not path.exists():
        raise OutputError(f"{store.root} is not a dataset of mvcap: it has no {path.relative_to(store.root)}")
    return dict(yaml.safe_load(path.read_bytes())["config"])


def require_writable(folder: Path) -> None:
    """Probe the output folder before anything else happens.

    Raises:
        OutputError: it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, prefix=files.TEMPORARY):
            pass
    except OSError as error:
        problem = f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
        raise OutputError(problem) from error
