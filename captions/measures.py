"""Measure captions against each other: the views of one object, and all captions of a dataset.

Rows are those of the dataset's tables (`mvcap.schema.VIEW_SCHEMA`), whose captions must not be null.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np

from captions.vocabulary import words_of
from mvcap.plan import stable_hash
from mvcap.report.captions import CaptionFigures

Row: TypeAlias = Mapping[str, Any]

COLOURS: Final = {
    **{name: name for name in ("black", "white", "grey", "red", "orange", "yellow", "green", "blue")},
    **{name: name for name in ("purple", "pink", "brown", "beige", "gold", "silver", "turquoise")},
    **{"gray": "grey", "violet": "purple", "golden": "gold", "tan": "beige", "cream": "beige"},
    **{"teal": "turquoise", "cyan": "turquoise", "reddish": "red", "bluish": "blue"},
}
"""Word of a caption -> the colour it names; the eleven basic terms of English and a few more."""


@dataclass(frozen=True, slots=True)
class ObjectMeasures:
    """How far the captions of one object agree; shares are in [0, 1]."""

    category_named: float | None
    """Share of its judged captions that name its category; None where none was judged."""
    category_agreement: float | None
    """Of the captions that name any of the dataset's categories, the share that names the commonest."""
    colour_agreement: float | None
    """Of the captions that name a colour, the share that names the commonest."""
    identical_captions: float
    """Share of its captions whose very text another of its views has too."""


def measure_object(rows: Sequence[Row]) -> ObjectMeasures:
    """Compare the captions of one object; there must be at least one.

    An agreement is None where fewer than two captions name anything: one alone agrees with nobody.
    """
    judged = [row for row in rows if row["caption_flags"] is not None]
    texts = Counter(row["caption"] for row in rows)
    return ObjectMeasures(
        sum(row["category_match"] is not None for row in judged) / len(judged) if judged else None,
        _agreement(_categories_named(row) for row in judged),
        _agreement({COLOURS[word] for word in words_of(row["caption"]) if word in COLOURS} for row in rows),
        sum(count for count in texts.values() if count > 1) / len(rows),
    )


def _categories_named(row: Row) -> set[str]:
    named = row["category"] if row["category_match"] else row["other_category"]
    return {named} if named else set()


def _agreement(named: Iterable[set[str]]) -> float | None:
    naming = [names for names in named if names]
    if len(naming) < 2:
        return None
    return max(Counter(name for names in naming for name in names).values()) / len(naming)


class DatasetMeasures:
    """Counts over all captions, object by object, without keeping them: 8 bytes for each caption, and
    the different pairs of neighbouring words."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._matches: Counter[str] = Counter({"exact": 0, "plural": 0, "synonym": 0})
        self._flags: Counter[str] = Counter()
        self._texts = array("Q")
        self._pairs: set[tuple[str, str]] = set()
        self._agreements: dict[str, list[float]] = {"category": [], "colour": []}

    def add(self, rows: Sequence[Row]) -> ObjectMeasures:
        """Count one object's captions, of which there must be at least one, and return its own measures."""
        for row in rows:
            self._add_caption(row["caption"])
            if row["caption_flags"] is not None:
                self._add_quality(row)
        measures = measure_object(rows)
        for name, value in (
            ("category", measures.category_agreement),
            ("colour", measures.colour_agreement),
        ):
            self._agreements[name] += [] if value is None else [value]
        return measures

    def figures(self) -> CaptionFigures:
        """Return what was counted so far; at least one caption."""
        _, times = np.unique(np.frombuffer(self._texts, np.uint64), return_counts=True)
        return CaptionFigures(
            captions=len(self._texts),
            judged=self._counts["judged"],
            matches=dict(self._matches),
            named_instead=self._counts["named_instead"],
            flags=dict(self._flags),
            retried=self._counts["retried"],
            identical=float(times[times > 1].sum() / times.sum()),
            distinct_2=len(self._pairs) / max(self._counts["pairs"], 1),
            category_agreement=_mean(self._agreements["category"]),
            colour_agreement=_mean(self._agreements["colour"]),
        )

    def _add_caption(self, caption: str) -> None:
        self._texts.append(stable_hash(caption))
        words = words_of(caption)
        pairs = list(pairwise(words))
        self._pairs.update(pairs)
        self._counts["pairs"] += len(pairs)

    def _add_quality(self, row: Row) -> None:
        self._counts["judged"] += 1
        self._counts["named_instead"] += row["other_category"] is not None
        self._counts["retried"] += bool(row["caption_retried"])
        self._flags.update(row["caption_flags"])
        if row["category_match"]:
            self._matches[row["category_match"]] += 1


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
