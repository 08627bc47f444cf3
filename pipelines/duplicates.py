"""Fill the column `duplicate_of` once every object of a dataset is rendered.

A shard is committed before all others are known, so its rows cannot tell at first. Once they can, the shards
that hold near-duplicates are committed once more, with that column filled; the others stay as they are.
"""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mvcap.commits import CAPTION, RENDER, Commit
from mvcap.config import TRAINING
from mvcap.lookalikes import PORTRAIT_SHAPE, first_lookalikes
from mvcap.plan import Plan, Shard
from mvcap.report.leaks import LeakFigures
from mvcap.storage import Store
from pipelines.rewriting import rewrite_shard


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The objects that look like another of the dataset."""

    of: Mapping[str, str]
    """The first object that each one looks like, by uid."""
    splits: Mapping[str, str]
    """The split of each object that has rows, by uid."""
    looked: bool
    """Whether any object could be looked at."""

    @property
    def leaking(self) -> list[str]:
        """Training objects that look like one of another split, in no order."""
        return [
            uid
            for uid, first in self.of.items()
            if self.splits[uid] == TRAINING and self.splits[first] != TRAINING
        ]


def find_duplicates(store: Store, plan: Plan) -> Duplicates:
    """Compare every object that has rows with all before it: in the plan's order, training last.

    So a training object that looks like any of another split is named after that one. Objects whose assets
    are the same, byte for byte, are duplicates however they look.
    """
    seen = [
        _Seen(uid, shard.split, facts.get("portrait"), facts.get("asset_sha256"))
        for shard in sorted(plan.shards, key=lambda shard: shard.split == TRAINING)
        for uid, facts in _objects_with_rows(store, shard)
    ]
    looks, same = _first_alike(seen), _first_with_asset(seen)
    first = {at: min(found.get(at, at) for found in (looks, same)) for at in range(len(seen))}
    return Duplicates(
        of={seen[at].uid: seen[other].uid for at, other in first.items() if other < at},
        splits={item.uid: item.split for item in seen},
        looked=any(item.portrait for item in seen),
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """An object that has rows, and how it looks."""

    uid: str
    split: str
    portrait: str | None
    """In Base64; None where nothing was rendered, or by an older version."""
    asset_sha256: str | None


def _objects_with_rows(store: Store, shard: Shard) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rendered, data = store.read_commit(RENDER, shard.index), store.read_commit(CAPTION, shard.index)
    for uid in shard.uids:
        if data and uid in data.views:
            yield uid, rendered.assets.get(uid, {}) if rendered else {}


def _first_alike(seen: Sequence[_Seen]) -> dict[int, int]:
    """Map positions to that of the first one that looks alike, where there is any."""
    portrayed = [at for at, item in enumerate(seen) if item.portrait]
    content = b"".join(b64decode(seen[at].portrait or "") for at in portrayed)
    first = first_lookalikes(np.frombuffer(content, dtype=np.uint8).reshape(-1, *PORTRAIT_SHAPE))
    return {portrayed[at]: portrayed[other] for at, other in enumerate(first.tolist()) if other >= 0}


def _first_with_asset(seen: Sequence[_Seen]) -> dict[int, int]:
    """Map positions to that of the first one with the same asset."""
    first: dict[str, int] = {}
    return {at: first.setdefault(item.asset_sha256, at) for at, item in enumerate(seen) if item.asset_sha256}


def duplicate_columns(duplicates: Duplicates, uid: str) -> dict[str, str | None]:
    """Return what the table of objects says of one."""
    first = duplicates.of.get(uid)
    return {"duplicate_of": first, "duplicate_split": duplicates.splits[first] if first else None}


def leak_figures(store: Store, duplicates: Duplicates) -> LeakFigures:
    """Count for the card what is kept out of training, and what should be left out of it."""
    leaks = store.read_leaks()
    return LeakFigures(
        evaluation=len(leaks.evaluation),
        left_out=len(leaks.left_out),
        unknown=len(leaks.unknown),
        twin_groups=sum(len(splits) == 1 for splits in _splits_of_twins(leaks.twins, duplicates).values()),
        lookalikes=len(duplicates.of) if duplicates.looked else None,
        leaking=len(duplicates.leaking),
    )


def _splits_of_twins(twins: Mapping[str, str], duplicates: Duplicates) -> dict[str, set[str]]:
    """Return the splits in which each shared asset has rows: several only where datasets were joined."""
    splits: dict[str, set[str]] = {}
    for uid, asset in twins.items():
        if uid in duplicates.splits:
            splits.setdefault(asset, set()).add(duplicates.splits[uid])
    return splits


def label_duplicates(store: Store, plan: Plan, duplicates: Duplicates) -> int:
    """Commit each shard anew whose rows say something else, and return how many that were."""
    labelled = 0
    for shard in plan.shards:
        commit = store.find_commit(CAPTION, shard)
        if commit is None or commit.file is None:
            continue
        labels = {uid: duplicates.of[uid] for uid in commit.views if uid in duplicates.of}
        if dict(commit.duplicates) != labels:
            _commit_labels(store, shard, commit, labels)
            labelled += 1
    return labelled


def _commit_labels(store: Store, shard: Shard, commit: Commit, labels: Mapping[str, str]) -> None:
    def labelled(table: pa.Table) -> pa.Table:
        position = table.schema.get_field_index("duplicate_of")
        field = table.schema.field(position)
        column = [labels.get(uid) for uid in table["uid"].to_pylist()]
        return table.set_column(position, field, pa.array(column, field.type))

    rewrite_shard(store, shard, commit, labelled, duplicates=labels)
