"""Which views of a dataset the page shows: a sample drawn by names, the same every time. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from mvcap.dataset import DatasetObject
from mvcap.plan import stable_hash

VIEWS_EACH: Final = 4
"""Of an object before another object gets its turn: pictures of one object are read together, so that more
objects cost more time, and fewer would show less."""
TURNED_VIEWS: Final = 960
"""Of all turntables together; each picture is about 2 kB."""
VIEWS_OF_A_TURNTABLE: Final = 120
PICTURES: Final = 4_000
"""Views in the browser with a picture, about 1.2 kB each; further ones are listed without."""

Row = TypeVar("Row", bound=Mapping[str, Any])


@dataclass(frozen=True, slots=True)
class Choice:
    """How many views of which objects are shown."""

    listed: Mapping[str, int]
    """By uid, in the browser."""
    pictured: Mapping[str, int]
    """By uid, those of the listed that have a picture there."""
    turned: Mapping[str, int]
    """By uid, in a turntable."""
    seed: int
    among: Set[tuple[str, int]] | None = None
    """Views, by uid and index, of which one is drawn; None for all."""

    def mixed(self, keys: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
        """Order views so that those of one object do not stand together."""
        return sorted(keys, key=lambda key: stable_hash(f"{self.seed}:mixed:{key[0]}:{key[1]}"))

    def draw(self, rows: Sequence[Row], count: int) -> list[Row]:
        """Draw some of an object's views by the hashes of their names, and leave them in their order.

        The first few of many are the few.
        """
        if self.among is not None:
            rows = [row for row in rows if (row["uid"], row["view_index"]) in self.among]
        if count >= len(rows):
            return list(rows)
        drawn = sorted(rows, key=lambda row: stable_hash(f"{self.seed}:{row['uid']}:{row['view_index']}"))
        kept = {row["view_index"] for row in drawn[:count]}
        return [row for row in rows if row["view_index"] in kept]


def choose(objects: Iterable[DatasetObject], *, views: int, seed: int) -> Choice:
    """Choose views for the browser and objects for the turntables, of as many categories as can be.

    Args:
        views: how many the browser lists, or all if there are fewer.
        seed: another one draws other objects.
    """
    ordered = order_objects(objects, seed=seed)
    listed = _listed(ordered, views)
    return Choice(listed, _listed(ordered, PICTURES) if views > PICTURES else listed, _turned(ordered), seed)


def order_objects(objects: Iterable[DatasetObject], *, seed: int) -> list[DatasetObject]:
    """Order objects by hash, the first of every category before the second of any."""
    members: defaultdict[str, list[DatasetObject]] = defaultdict(list)
    for item in sorted(objects, key=lambda item: stable_hash(f"{seed}:{item.uid}")):
        members[item.category].append(item)
    ranked = (pair for items in members.values() for pair in enumerate(items))
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]


def _listed(ordered: Sequence[DatasetObject], wanted: int) -> dict[str, int]:
    wanted = min(wanted, sum(item.views for item in ordered))
    counts: Counter[str] = Counter()
    while counts.total() < wanted:
        for item in ordered:
            room = min(VIEWS_EACH, item.views - counts[item.uid], wanted - counts.total())
            if room > 0:
                counts[item.uid] += room
    return dict(counts)


def _turned(ordered: Iterable[DatasetObject]) -> dict[str, int]:
    """Take objects as long as there is room; an object of one view has nothing to turn."""
    counts: Counter[str] = Counter()
    for item in ordered:
        shown = min(item.views, VIEWS_OF_A_TURNTABLE)
        if item.views > 1 and counts.total() + shown <= TURNED_VIEWS:
            counts[item.uid] = shown
    return dict(counts)
