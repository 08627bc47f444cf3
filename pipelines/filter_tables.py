"""What the filter leaves on disk: selected objects, the others with their reasons, and counts of both."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mvcap import files
from mvcap.selected import write_left_out, write_selected
from pipelines.filter import Filtered

BAR_WIDTH: Final = 40
SHOWN: Final = 12
"""Categories in the chart."""


@dataclass(frozen=True, slots=True)
class FilterFiles:
    """The files beside each other; `summary` is written last, and so proves that the others are whole."""

    selected: Path

    @property
    def left_out(self) -> Path:
        return self.selected.with_suffix(".left-out.parquet")

    @property
    def summary(self) -> Path:
        return self.selected.with_suffix(".json")

    def write(self, filtered: Filtered, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Write all of them, and return the summary."""
        summary = {
            "objects": len(filtered.source_ids) + len(filtered.duplicates),
            "verdicts": filtered.counts,
            "min_similarity_found": filtered.selection.threshold,
            "repeated_categories": filtered.repeated_categories,
            "categories": filtered.per_category(),
            "inputs": dict(inputs),
        }
        write_selected(self.selected, filtered.selected(), about=json.dumps(dict(inputs), sort_keys=True))
        write_left_out(self.left_out, filtered.left_out())
        files.write_json(self.summary, summary)
        return summary

    def read_summary(self) -> dict[str, Any] | None:
        """Read what `write` returned; None where it did not come to its end."""
        try:
            content: dict[str, Any] = json.loads(self.summary.read_bytes())
        except (OSError, ValueError):
            return None
        return content if self.selected.exists() and self.left_out.exists() else None


def describe(summary: Mapping[str, Any]) -> str:
    """Sum a filter's work up for people: verdicts, and the categories with the most objects."""
    verdicts = summary["verdicts"]
    lines = [f"{count:>9,} {verdict}" for verdict, count in verdicts.items()]
    lines.append(f"similarity of the last one taken, or the rule's: {summary['min_similarity_found']:.5f}")
    taken = sorted(summary["categories"], key=lambda row: (-row["selected"], row["category"]))
    filled = [row for row in taken if row["selected"]]
    lines.append(f"{len(filled)} of {len(taken)} categories have objects; those with the most:")
    longest = max((row["selected"] for row in filled), default=1)
    for row in filled[:SHOWN]:
        bar = "#" * max(round(BAR_WIDTH * row["selected"] / longest), 1)
        lines.append(f"{row['selected']:>9,} {row['category'][:24]:24} {bar}")
    return "\n".join(lines)
