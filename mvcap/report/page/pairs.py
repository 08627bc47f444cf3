"""Which views of two datasets are shown side by side."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from mvcap.dataset import Dataset
from mvcap.report.page.choosing import choose
from mvcap.report.page.contents import Contents, Key, collect


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two datasets and the views of them that belong together."""

    first: Contents
    second: Contents
    keys: Sequence[tuple[Key, Key]]
    same_views: bool
    """Whether a pair is one view in both, or just two views of one category."""
    shared: int
    """Objects that are in both."""


def collect_pairs(first: Dataset, second: Dataset, *, views: int, seed: int) -> Pairs:
    """Choose views that both datasets have; where they share none, views of the same categories.

    Args:
        views: how many pairs there are at most.
        seed: another one draws others.

    Raises:
        CorruptDatasetError: a file cannot be read.
    """
    uids = {item.uid for item in second.objects}
    shared = [item for item in first.objects if item.uid in uids]
    choice = choose(shared, views=views, seed=seed)
    if common := _views_of(first, choice.listed) & _views_of(second, choice.listed):
        choice = replace(choice, turned={}, among=common)
        contents = collect(first, choice), collect(second, choice)
        there = set(contents[1].listed)
        keys = [(key, key) for key in contents[0].listed if key in there]
    else:
        choices = [replace(choose(one.objects, views=views, seed=seed), turned={}) for one in (first, second)]
        contents = collect(first, choices[0]), collect(second, choices[1])
        keys = _by_category(*contents)
    return Pairs(*contents, keys, bool(common), len(shared))


def _views_of(dataset: Dataset, uids: Collection[str]) -> set[Key]:
    chosen = dataset.only(uids).by_object(("uid", "view_index"))
    return {(row["uid"], row["view_index"]) for _, rows in chosen for row in rows}


def _by_category(first: Contents, second: Contents) -> list[tuple[Key, Key]]:
    """Pair the n-th listed view of a category with the other's n-th of the same, in the first's order."""
    waiting: dict[str, list[Key]] = {}
    for key in reversed(second.listed):
        waiting.setdefault(second.views[key].row["category"], []).append(key)
    return [
        (key, same.pop()) for key in first.listed if (same := waiting.get(first.views[key].row["category"]))
    ]
