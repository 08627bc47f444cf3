"""The captions and renders that most need a look. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Final, TypeAlias

SHOWN: Final = 20
OF_AN_OBJECT: Final = 2
"""Worst views of one object that are shown, or a single bad model could fill the list."""
SEVERE: Final = frozenset({"over_exposed", "under_exposed"})
"""Image flags of pictures in which hardly anything can be seen."""

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """How bad a view is, and why in words."""

    rank: tuple[float, ...]
    """The larger the worse."""
    reasons: tuple[str, ...]


def caption_fault(row: Row) -> Fault | None:
    """Judge a caption by what its columns say; None where nothing is wrong with it, or nobody judged it.

    Naming another category counts 3, naming none 2, every flag 1; among equals a low CLIP score is worse.
    """
    if row["caption"] is None or row["caption_flags"] is None:
        return None
    reasons = list(row["caption_flags"])
    weight = len(reasons)
    if row["other_category"] is not None:
        reasons.append(f"names {row['other_category']!r} instead")
        weight += 3
    elif row["category_match"] is None:
        reasons.append("does not name its category")
        weight += 2
    return Fault((weight, -(row["clip_score"] or 0.0)), tuple(reasons)) if reasons else None


def render_fault(row: Row) -> Fault | None:
    """Judge a picture by its flags, then by how little the object covers; None where nothing is known."""
    covered = row["foreground_fraction"]
    if not row["flags"] and covered is None:
        return None
    flags = row["flags"] or ()
    weight = sum(2 if flag in SEVERE else 1 for flag in flags)
    share = [] if covered is None else [f"covers {covered:.1%}"]
    return Fault((weight, -(1.0 if covered is None else covered)), (*flags, *share))


class Worst:
    """Keeps the worst of all views that it is shown, object by object."""

    def __init__(self, judge: Callable[[Row], Fault | None]) -> None:
        self._judge = judge
        self._kept: list[tuple[Fault, Row]] = []

    def __iter__(self) -> Iterator[tuple[Fault, Row]]:
        return iter(self._kept)

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the views of one object."""
        judged = [(fault, row) for row in rows if (fault := self._judge(row))]
        candidates = nlargest(OF_AN_OBJECT, judged, key=_rank)
        self._kept = nlargest(SHOWN, [*self._kept, *candidates], key=_rank)


def _rank(judged: tuple[Fault, Row]) -> tuple[float, ...]:
    return judged[0].rank
