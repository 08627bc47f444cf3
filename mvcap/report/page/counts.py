"""What is counted over all rows of a dataset, also over those that the page does not list. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

BIN_DEG: Final = 15
"""Of elevations."""
LONGEST: Final = 60
"""Words; longer captions are counted with these."""

Row = Mapping[str, Any]


@dataclass(slots=True)
class Counts:
    """Filled object by object."""

    views: int = 0
    categories: Counter[str] = field(default_factory=Counter)
    """Views of each."""
    sources: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    """Views under each; `unknown` where none is told."""
    imported: Counter[str] = field(default_factory=Counter)
    """Views of each source whose pictures were taken as they are."""
    words: Counter[int] = field(default_factory=Counter)
    """Captions of each length."""
    image_flags: Counter[str] = field(default_factory=Counter)
    checked: int = 0
    """Views whose pictures were checked."""
    judged_at: Counter[int] = field(default_factory=Counter)
    """Judged captions by the lower end of the bin of elevation, in degrees."""
    named_at: Counter[int] = field(default_factory=Counter)
    """Of these, those that name their category."""

    def add(self, rows: Sequence[Row]) -> None:
        """Count the views of one object."""
        for row in rows:
            self.views += 1
            self.categories[row["category"]] += 1
            self.sources[row["source"]] += 1
            self.splits[row["split"]] += 1
            if row["renderer"] is None:
                self.imported[row["source"]] += 1
            self.licenses[row["license"] or "unknown"] += 1
            if row["flags"] is not None:
                self.checked += 1
                self.image_flags.update(row["flags"])
            if row["caption"] is not None:
                self.words[min(len(row["caption"].split()), LONGEST)] += 1
            if row["caption_flags"] is not None and row["elevation_deg"] is not None:
                low = elevation_bin(row["elevation_deg"])
                self.judged_at[low] += 1
                self.named_at[low] += row["category_match"] is not None

    def named_by_elevation(self) -> Iterator[tuple[str, float, int]]:
        """Yield bins from low to high: name, share in [0, 1] naming its category, how many were judged."""
        for low in sorted(self.judged_at):
            count = self.judged_at[low]
            yield f"{low}° to {low + BIN_DEG}°", self.named_at[low] / count, count


def elevation_bin(elevation_deg: float) -> int:
    """Return the lower end of the bin in which an elevation of [-90, 90] lies; the last one holds 90 too."""
    return min(int(elevation_deg // BIN_DEG) * BIN_DEG, 90 - BIN_DEG)
