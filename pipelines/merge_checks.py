"""What datasets must have in common to be joined, and which objects they share."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mvcap import schema
from mvcap.commits import CAPTION, STAGES, UNCAPTIONED, StageName
from mvcap.config import TRAINING, difference
from mvcap.dataset import Dataset, committed_dataset
from mvcap.errors import UnfinishedError, UsageError
from mvcap.plan import Plan, Shard
from mvcap.quantities import quantity
from mvcap.records import SelectedObject
from mvcap.removals import Removal
from mvcap.storage import Store
from pipelines.planning import lasting_fields, plan_settings
from pipelines.renderer_versions import committed_versions, describe
from pipelines.surveying import all_failures, survey

NAMED: Final = 5
"""Objects that a refusal shows one by one."""
ROW_COLUMNS: Final = tuple(name for name in schema.VIEW_SCHEMA.names if name != "duplicate_of")
"""What an object's rows are compared by; of what it is a duplicate, depends on the other objects."""


@dataclass(frozen=True, slots=True)
class Part:
    """A finished dataset that is to be joined with others."""

    store: Store
    plan: Plan
    objects: Mapping[str, SelectedObject]
    removed: Mapping[str, Removal]
    views: Dataset
    shard_of: Mapping[str, Shard]
    """By uid."""

    @property
    def root(self) -> Path:
        assert isinstance(self.store.root, Path)
        return self.store.root

    @classmethod
    def open(cls, root: Path) -> "Part":
        """Open a dataset.

        Raises:
            OutputError: it is none.
            UnfinishedError: it is not whole.
        """
        store = Store(root)
        plan = store.require_plan()
        if not survey(store, plan).complete:
            raise UnfinishedError(root)
        objects = {item.uid: item for item in store.read_objects()}
        views = committed_dataset(store, plan)
        shard_of = {uid: shard for shard in plan.shards for uid in shard.uids}
        return cls(store, plan, objects, store.read_removals(), views, shard_of)


def refuse_unlike(parts: Sequence[Part], *, mixed_renderers: bool = False) -> None:
    """Refuse datasets that were made with different settings; sources may differ, and captions be null.

    Args:
        mixed_renderers: allow different versions of the renderer.

    Raises:
        UsageError: with every setting that differs.
    """
    first, *others = parts
    for other in others:
        changed = {
            f"{section} {name}": values
            for section, fields in _differences(first, other, mixed_renderers=mixed_renderers)
            for name, values in fields.items()
        }
        if changed:
            listed = "\n".join(f"  {name}: {a!r} | {b!r}" for name, (a, b) in sorted(changed.items()))
            raise UsageError(
                f"{first.root} and {other.root} were made with different settings and cannot be joined "
                f"({first.root.name} | {other.root.name}):\n{listed}\n"
                "Build one of them anew with the other's settings; captions can change alone, with "
                "`mvcap caption DIR --recaption`; versions of the renderer may differ with --mixed-renderers."
            )


def _differences(
    one: Part, other: Part, *, mixed_renderers: bool
) -> Iterator[tuple[str, Mapping[str, tuple[Any, Any]]]]:
    versions = [sorted(map(describe, committed_versions(part.store, part.plan))) for part in (one, other)]
    if all(versions) and not mixed_renderers:
        yield "renderer", difference({"versions": versions[0]}, {"versions": versions[1]})
    yield "plan", difference(plan_settings(one.plan), plan_settings(other.plan))
    filters = [part.store.read_config()["config"].get("filter") for part in (one, other)]
    yield "filter", difference({"settings": filters[0]}, {"settings": filters[1]})
    for stage in STAGES:
        digests = [digest_of(part, stage) for part in (one, other)]
        if None not in digests and digests[0] != digests[1]:
            then, now = (
                part.store.settings(stage, str(d)) for part, d in zip((one, other), digests, strict=True)
            )
            yield stage, difference(then, now) or {"settings": (digests[0], digests[1])}


def digest_of(part: Part, stage: StageName) -> str | None:
    """Return the hash of a finished dataset's settings; None where it has no captions."""
    commits = part.store.read_commits(part.plan, stage)
    return next((commit.settings for commit in commits if commit.settings != UNCAPTIONED), None)


def refuse_learnt_evaluation(parts: Sequence[Part], plan: Plan) -> None:
    """Refuse to let one dataset's evaluation objects into training by way of another.

    Raises:
        UsageError: with the objects.
    """
    learnt = {uid for shard in plan.shards if shard.split == TRAINING for uid in shard.uids}
    learnt -= {uid for part in parts for uid in part.removed}
    for part in parts:
        if bad := sorted(learnt & set(part.store.read_leaks().evaluation)):
            raise UsageError(
                f"{part.root} keeps {quantity(len(bad), 'object')} out of training that another dataset "
                f"trains on; take them out of that one first: mvcap remove DIR {' '.join(bad[:NAMED])}"
                + (" ..." if len(bad) > NAMED else "")
            )


def count_shared(parts: Sequence[Part]) -> int:
    """Count the objects that several datasets hold, all alike.

    Raises:
        UsageError: some differ; the message shows both.
    """
    owners: dict[str, Part] = {}
    removed = {uid for part in parts for uid in part.removed}
    shared, conflicts = set(), []
    failures = {id(part): _reasons(part) for part in parts}
    for part in parts:
        for uid in sorted(part.shard_of):
            owner = owners.setdefault(uid, part)
            if owner is part or uid in removed:
                continue
            shared.add(uid)
            if fields := _conflict(uid, (owner, part), failures):
                conflicts += [
                    f"  {uid}: {n}: {a!r} in {owner.root} | {b!r} in {part.root}" for n, (a, b) in fields
                ]
    if conflicts:
        more = f"\n  ... and {len(conflicts) - NAMED} more" if len(conflicts) > NAMED else ""
        raise UsageError(
            "objects that stand in several datasets differ:\n"
            + "\n".join(conflicts[:NAMED])
            + f"{more}\nTake each out of one of them: mvcap remove DIR UID. What failed in one of them: "
            "mvcap retry DIR --failed."
        )
    return len(shared)


def _conflict(
    uid: str, pair: tuple[Part, Part], failures: Mapping[int, Mapping[str, str]]
) -> list[tuple[str, tuple[Any, Any]]]:
    """List the fields in which two datasets' versions of an object differ; the first view that does."""
    facts = [_facts(part, uid, failures[id(part)].get(uid)) for part in pair]
    if changed := difference(facts[0], facts[1]):
        return sorted(changed.items())
    if not facts[0]["views"]:
        return []
    for one, other in zip(*(part.views.read_rows(uid, ROW_COLUMNS) for part in pair), strict=True):
        if changed := difference(_shown(one), _shown(other)):
            return [(f"view {one['view_index']}: {name}", both) for name, both in sorted(changed.items())]
    return []


def _facts(part: Part, uid: str, failure: str | None) -> dict[str, Any]:
    shard = part.shard_of[uid]
    commit = part.store.read_commit(CAPTION, shard.index)
    views = commit.views.get(uid, 0) if commit else 0
    return {**lasting_fields(part.objects[uid]), "split": shard.split, "views": views, "failure": failure}


def _reasons(part: Part) -> dict[str, str]:
    return {rejected.uid: rejected.reason for rejected in all_failures(part.store, part.plan)}


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose pictures are checksums, to be compared and printed."""
    return {
        name: hashlib.sha256(value["bytes"]).hexdigest() if isinstance(value, dict) else value
        for name, value in row.items()
    }
