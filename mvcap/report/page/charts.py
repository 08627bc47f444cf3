"""Where the marks of the page's charts stand: numbers for the templates to draw. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import cos, radians, sin, sqrt
from typing import Final

MOST_BARS: Final = 40
MOST_POINTS: Final = 1500


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of a bar chart."""

    label: str
    value: str
    share: float
    """Its length, in [0, 1]."""


def count_bars(counts: Mapping[str, int]) -> list[Bar]:
    """Make a bar for each name, the commonest first; what there is no room for is one bar at the end."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown, rest = ordered[:MOST_BARS], ordered[MOST_BARS:]
    longest = ordered[0][1] if ordered else 1
    bars = [Bar(name, f"{count:,}", count / longest) for name, count in shown]
    if rest:
        count = sum(count for _, count in rest)
        bars.append(Bar(f"{len(rest)} others", f"{count:,}", min(count / longest, 1.0)))
    return bars


def share_bar(label: str, share: float, note: str = "") -> Bar:
    """Make a bar of a share in [0, 1]."""
    return Bar(label, f"{share:.1%}{note}", share)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a histogram."""

    label: str
    count: int
    share: float
    """Its height, in [0, 1]."""


def histogram(counts: Mapping[int, int], *, last: int) -> list[Column]:
    """Make a column for every whole number between the smallest and the largest; `last` stands for more."""
    if not counts:
        return []
    tallest = max(counts.values())
    numbers = range(min(counts), max(counts) + 1)
    return [
        Column(f"{number}+" if number == last else str(number), count, count / tallest)
        for number in numbers
        for count in [counts.get(number, 0)]
    ]


def equal_area(azimuth_deg: float, elevation_deg: float) -> tuple[float, float]:
    """Project a direction so that equal areas of the sphere stay equal: Lambert's, seen from above.

    The zenith is (0, 0), the horizon the unit circle, the nadir one of √2. Azimuth 0 is x, y points down.
    """
    radius = sqrt(1 - sin(radians(elevation_deg)))
    return radius * cos(radians(azimuth_deg)), -radius * sin(radians(azimuth_deg))


def camera_points(cameras: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Project up to 1,500 (azimuth, elevation), evenly taken from all of them."""
    all_cameras = list(cameras)
    step = max(len(all_cameras) / MOST_POINTS, 1)
    taken = [all_cameras[int(index * step)] for index in range(min(len(all_cameras), MOST_POINTS))]
    return [equal_area(*camera) for camera in taken]
