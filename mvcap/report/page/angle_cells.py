"""The cells of a table of accuracy by viewing angle, as `mvcap eval` writes it: numbers to draw. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

FEW: Final = 5
"""A cell with fewer pictures is drawn hatched, as in the picture that `mvcap eval` draws."""

Angles: TypeAlias = Mapping[str, Any]
"""`angles` of a set in `results.json`."""


@dataclass(frozen=True, slots=True)
class AngleCell:
    """Accuracy in one range of angles."""

    share: float
    """In [0, 1]; of a difference, in [-1, 1]."""
    pictures: int

    @property
    def few(self) -> bool:
        return self.pictures < FEW


@dataclass(frozen=True, slots=True)
class AngleRow:
    """A band of elevations."""

    elevation: str
    cells: Sequence[AngleCell | None]
    """By azimuth; None where there is no picture."""


def angle_rows(angles: Angles) -> list[AngleRow]:
    """Return the bands from the highest down, as one looks at them."""
    step, lowest = angles["elevation_step_deg"], angles["lowest_elevation_deg"]
    rows = [
        AngleRow(
            f"{lowest + number * step}–{lowest + (number + 1) * step}°",
            [
                None if share is None else AngleCell(share, count)
                for share, count in zip(shares, counts, strict=True)
            ],
        )
        for number, (shares, counts) in enumerate(zip(angles["accuracy"], angles["pictures"], strict=True))
    ]
    return rows[::-1]


def angle_differences(after: Angles, before: Angles) -> list[AngleRow] | None:
    """Subtract one table from another; None where they do not count the same pictures."""
    if any(after[name] != before[name] for name in after if name != "accuracy"):
        return None
    return [
        AngleRow(
            one.elevation,
            [
                None if a is None or b is None else AngleCell(a.share - b.share, a.pictures)
                for a, b in zip(one.cells, other.cells, strict=True)
            ],
        )
        for one, other in zip(angle_rows(after), angle_rows(before), strict=True)
    ]


def azimuth_edges(angles: Angles) -> list[str]:
    """Return where each column begins."""
    step = angles["azimuth_step_deg"]
    return [f"{number * step}°" for number in range(360 // step)]
