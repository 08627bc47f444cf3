"""What of a shard stands already and stays as it is when a stage does the shard once more.

A stage does a shard again where failures are tried again, or where its views were rendered again. Rows that
are there keep their bytes, captions included; only what is missing is made.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa

from mvcap.commits import CAPTION, RENDER, Commit
from mvcap.plan import Shard
from mvcap.records import Key, Rejected
from mvcap.rows import without_captions, without_duplicates
from mvcap.storage import Store
from pipelines.stages import Stage

Tables = Iterator[tuple[str, pa.Table]]
"""Of each object that has any, its uid and its rows, in the plan's order."""

IMAGE_COLUMNS = ["uid", "view_index", "image"]


@dataclass(frozen=True, slots=True)
class Kept:
    """The part of a shard that a stage leaves as it is; nothing where it has not done the shard before."""

    store: Store
    shard: Shard
    stage: Stage[Any, Any]
    commit: Commit | None
    """The record that is continued; None where there is nothing to keep."""
    views: Mapping[str, frozenset[int]]
    """Indices of the kept rows by uid."""

    @classmethod
    def find(cls, store: Store, shard: Shard, stage: Stage[Any, Any]) -> "Kept":
        """Find out what the last record of this stage holds that is still good."""
        if stage.name == RENDER:
            commit = store.find_commit(RENDER, shard)
            views = _indices(store.read_view_rows(shard, columns=IMAGE_COLUMNS[:2])) if commit else {}
        else:
            commit = _captions_to_continue(store, shard, stage.settings)
            views = _captioned_views(store, shard, commit) if commit else {}
        removed = store.read_removals()
        present = {uid: kept for uid, kept in views.items() if uid not in removed}
        return cls(store, shard, stage, commit, present)

    @property
    def rows(self) -> int:
        return sum(map(len, self.views.values()))

    def holds(self, key: Key) -> bool:
        """Tell whether a view needs no work: its row is kept, or it failed and is not tried again."""
        uid, view = key
        if view in self.views.get(uid, ()):
            return True
        return uid not in self.stage.again and not self._failed.isdisjoint({key, (uid, None)})

    def wants(self, uid: str) -> bool:
        """Tell whether an object is rendered: any, or of a shard that stands, those tried again."""
        return self.commit is None or uid in self.stage.again

    def merged(self, made: Tables) -> Tables:
        """Yield the kept rows and those that were made, object by object."""
        position = {uid: at for at, uid in enumerate(self.shard.uids)}
        streams = heapq.merge(self._tables(), made, key=lambda pair: position[pair[0]])
        for uid, pairs in groupby(streams, key=itemgetter(0)):
            tables = [table for _, table in pairs]
            yield uid, tables[0] if len(tables) == 1 else pa.concat_tables(tables).sort_by("view_index")

    def facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of the new commit record: what was done now, and before."""
        if (before := self.commit) is None:
            return dict(facts)
        made_by = dict(facts["made_by"])
        if earlier := {name: value for name, value in before.made_by.items() if name != "before"}:
            made_by |= {"before": earlier} if earlier != made_by else {}
        return {
            **facts,
            "rejected": self._settled(facts["rejected"]),
            "assets": {**facts["assets"], **before.assets},
            "made_by": made_by,
            "seconds": round(before.seconds + facts["seconds"], 3),
            "object_seconds": {**before.object_seconds, **facts["object_seconds"]},
        }

    @property
    def _failed(self) -> frozenset[Key]:
        return frozenset(each.key for each in self.commit.rejected) if self.commit else frozenset()

    def _tables(self) -> Tables:
        if self.commit is None or not self.views:
            return
        if self.stage.name == RENDER:
            tables = map(without_captions, self.store.read_view_rows(self.shard))
        else:
            tables = map(without_duplicates, self.store.read_rows(self.commit))
        for table in tables:
            uid = table["uid"][0].as_py()
            kept = [view in self.views.get(uid, ()) for view in table["view_index"].to_pylist()]
            if any(kept):
                yield uid, table if all(kept) else table.filter(pa.array(kept))

    def _settled(self, new: Sequence[Rejected]) -> tuple[Rejected, ...]:
        """Put earlier rejections and those of now together, in the plan's order.

        What failed again counts all its attempts. An object that has rows is never rejected as a whole.
        """
        assert self.commit is not None
        before = {each.key: each for each in self.commit.rejected}
        in_vain = {each.uid: each for each in new if each.view_index is None and self.views.get(each.uid)}
        settled = {}
        for key, each in before.items():
            if each.uid in in_vain:
                settled[key] = replace(each, attempts=each.attempts + in_vain[each.uid].attempts)
            elif each.uid not in self.stage.again:
                settled[key] = each
        for each in new:
            if each.uid not in in_vain and each.view_index not in self.views.get(each.uid, ()):
                earlier = before[each.key].attempts if each.key in before else 0
                settled[each.key] = replace(each, attempts=each.attempts + earlier)
        position = {uid: at for at, uid in enumerate(self.shard.uids)}
        return tuple(sorted(settled.values(), key=lambda each: (position[each.uid], each.view_index or 0)))


def _captions_to_continue(store: Store, shard: Shard, settings: str) -> Commit | None:
    """Return the record of the captions that these settings made, where there is one whose file is whole."""
    commit = store.read_commit(CAPTION, shard.index)
    if commit is None or commit.settings != settings:
        return None
    return commit if commit.file is None or store.find_commit(CAPTION, shard) else None


def _captioned_views(store: Store, shard: Shard, commit: Commit) -> dict[str, frozenset[int]]:
    """Find the rows whose pictures are still those that were rendered."""
    captioned = _fingerprints(store.read_rows(commit, columns=IMAGE_COLUMNS))
    rendered = store.find_commit(RENDER, shard)
    if rendered is None or rendered.dropped:
        return {uid: frozenset(views) for uid, views in captioned.items()}
    present = _fingerprints(store.read_view_rows(shard, columns=IMAGE_COLUMNS))
    return {
        uid: frozenset(view for view, digest in views.items() if present.get(uid, {}).get(view) == digest)
        for uid, views in captioned.items()
    }


def _fingerprints(tables: Iterable[pa.Table]) -> dict[str, dict[int, bytes]]:
    found: dict[str, dict[int, bytes]] = {}
    for table in tables:
        for row in table.to_pylist():
            digest = sha256(row["image"]["bytes"]).digest()
            found.setdefault(row["uid"], {})[row["view_index"]] = digest
    return found


def _indices(tables: Iterable[pa.Table]) -> dict[str, frozenset[int]]:
    return {table["uid"][0].as_py(): frozenset(table["view_index"].to_pylist()) for table in tables}
