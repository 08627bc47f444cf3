"""Objects to shards: pure, deterministic, and never dependent on the number of workers.

A shard is a few dozen objects with all their views, all of one split. Shards carry one global number.
When more objects come later they form further shards; the old ones stay as they are.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mvcap.errors import CorruptDatasetError

PLAN_VERSION = 1


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work and of commitment."""

    index: int
    split: str
    planned_total: int
    """How many shards the plan had when this one was added; part of the file name, so it never changes."""
    uids: tuple[str, ...]

    @property
    def file_name(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.planned_total:05d}.parquet"


@dataclass(frozen=True, slots=True)
class Plan:
    """All shards of a dataset and what they were made from."""

    seed: int
    objects_per_shard: int
    splits: Mapping[str, float]
    shards: tuple[Shard, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "version": PLAN_VERSION,
            "seed": self.seed,
            "objects_per_shard": self.objects_per_shard,
            "splits": dict(self.splits),
            "shards": [
                {"index": s.index, "split": s.split, "planned_total": s.planned_total, "uids": list(s.uids)}
                for s in self.shards
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "Plan":
        """Read a plan back.

        Raises:
            CorruptDatasetError: the content is not a plan of a version we know.
        """
        found = content.get("version") if isinstance(content, Mapping) else None
        if found != PLAN_VERSION:
            raise CorruptDatasetError(f"plan.json has version {found!r}; this mvcap reads {PLAN_VERSION}")
        try:
            shards = tuple(
                Shard(entry["index"], entry["split"], entry["planned_total"], tuple(entry["uids"]))
                for entry in content["shards"]  # type: ignore[attr-defined]
            )
            return cls(content["seed"], content["objects_per_shard"], content["splits"], shards)  # type: ignore[arg-type]
        except (KeyError, TypeError) as error:
            raise CorruptDatasetError(f"plan.json is not a plan: {error!r}") from error


def stable_hash(text: str) -> int:
    """Hash text to 64 bits, the same on every machine and in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def make_uid(source: str, source_id: str) -> str:
    """Make an id that is safe in any path from a source's own id, whatever that holds.

    The slug is for people; the 8 hex digits of the id's hash keep ids apart that share a slug.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", source_id.lower()).strip("-")[:40].strip("-")
    digest = hashlib.sha256(source_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return "-".join(part for part in (source, slug, digest) if part)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Objects that must never be learnt from, such as those of a benchmark."""

    uids: Collection[str] = frozenset()
    split: str | None = None
    """Where they go; None leaves them out of the dataset."""


def extend_plan(
    plan: Plan,
    uids: Iterable[str],
    *,
    twins: Mapping[str, str] | None = None,
    held_out: HeldOut | None = None,
) -> Plan:
    """Add the objects that a plan does not hold yet, as further shards.

    An object's split depends on the seed and its uid alone, unless it has twins or is held out. Larger
    splits come first.

    Args:
        twins: the group of each object that has the same content as others, planned ones included; a group
            lands in one split.
    """
    split_of = _SplitChooser(plan, twins or {}, held_out or HeldOut())
    members: dict[str, list[str]] = {split: [] for split, _ in _ordered(plan.splits)}
    for uid in sorted(set(uids) - split_of.planned.keys()):
        if (split := split_of(uid)) is not None:
            members.setdefault(split, []).append(uid)
    groups = [
        (split, group) for split, held in members.items() for group in _batched(held, plan.objects_per_shard)
    ]
    first, total = len(plan.shards), len(plan.shards) + len(groups)
    added = (Shard(first + offset, split, total, group) for offset, (split, group) in enumerate(groups))
    return Plan(plan.seed, plan.objects_per_shard, plan.splits, (*plan.shards, *added))


class _SplitChooser:
    """Decides for one group of twins as for one object."""

    def __init__(self, plan: Plan, twins: Mapping[str, str], held_out: HeldOut) -> None:
        self.planned = {uid: shard.split for shard in plan.shards for uid in shard.uids}
        self._plan = plan
        self._held_out = held_out
        self._twins = twins
        self._members: dict[str, list[str]] = {}
        for uid, group in sorted(twins.items()):
            self._members.setdefault(group, []).append(uid)

    def __call__(self, uid: str) -> str | None:
        """Choose as held out, else like a planned twin, else by the first uid; None leaves it out."""
        members = self._members[self._twins[uid]] if uid in self._twins else [uid]
        if uid in self._held_out.uids:
            return self._held_out.split
        if planned := next((self.planned[twin] for twin in members if twin in self.planned), None):
            return planned
        if any(twin in self._held_out.uids for twin in members):
            return self._held_out.split
        return choose_split(members[0], self._plan.splits, seed=self._plan.seed)


def choose_split(uid: str, splits: Mapping[str, float], *, seed: int) -> str:
    """Choose an object's split with the given shares, from its identity alone."""
    position = stable_hash(f"{seed}:{uid}") / 2**64  # uniform in [0, 1]
    ordered = _ordered(splits)
    for split, share in ordered:
        position -= share
        if position < 0:
            return split
    return ordered[0][0]  # the shares add up to a little less than 1


def _ordered(splits: Mapping[str, float]) -> list[tuple[str, float]]:
    """Order splits by share, then name: a mapping's own order is lost in JSON, and must not matter."""
    return sorted(splits.items(), key=lambda item: (-item[1], item[0]))


def slice_shards(shards: Sequence[Shard], part: tuple[int, int]) -> list[Shard]:
    """Return slice K of N, 0 <= K < N: every N-th shard, so that slices are of like size."""
    position, count = part
    return [shard for shard in shards if shard.index % count == position]


def _batched(items: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
