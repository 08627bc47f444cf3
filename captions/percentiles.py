"""Where a CLIP score stands among those of like views: of the same category and from a like elevation.

CLIP scores a chair seen from above lower than one seen from the front, whatever the captions say. A global
threshold would therefore throw away exactly the unusual views that this dataset is made for.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from statistics import median
from typing import Final, TypeAlias

BIN_DEG: Final = 30
UNKNOWN: Final = "unknown"

Group: TypeAlias = tuple[str, str]
"""Category and elevation bin."""


def elevation_bin(elevation_deg: float | None) -> str:
    """Name the bin of 30° in which a camera stands; the last one holds 90° too."""
    if elevation_deg is None:
        return UNKNOWN
    low = min(int(elevation_deg // BIN_DEG) * BIN_DEG, 90 - BIN_DEG)
    return f"{low} to {low + BIN_DEG}"


class ScoreGroups:
    """All scores by group, 4 bytes for each (8 once percentiles are asked for)."""

    def __init__(self) -> None:
        self._scores: defaultdict[Group, array[float]] = defaultdict(lambda: array("f"))
        self._ordered: dict[Group, array[float]] = {}

    def __bool__(self) -> bool:
        return bool(self._scores)

    def add(self, category: str, elevation_deg: float | None, score: float) -> None:
        """Count one view's score."""
        self._scores[category, elevation_bin(elevation_deg)].append(score)
        self._ordered.clear()

    def percentile(self, category: str, elevation_deg: float | None, score: float) -> float:
        """Return the share in percent of its group that a score is above; ties count half.

        The group must hold the score.
        """
        group = (category, elevation_bin(elevation_deg))
        if group not in self._ordered:
            self._ordered[group] = array("f", sorted(self._scores[group]))
        ordered = self._ordered[group]
        return 50 * (bisect_left(ordered, score) + bisect_right(ordered, score)) / len(ordered)

    def medians(self) -> dict[str, float]:
        """Return the median score of each elevation bin, over all categories, in the order of the bins."""
        bins: defaultdict[str, array[float]] = defaultdict(lambda: array("f"))
        for (_, name), scores in self._scores.items():
            bins[name].extend(scores)
        return {name: median(bins[name]) for name in sorted(bins, key=_lower_end)}


def _lower_end(name: str) -> tuple[bool, int]:
    return (True, 0) if name == UNKNOWN else (False, int(name.split()[0]))
