"""Where the lines of a chart over training steps run: numbers for the templates to draw. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from typing import Final, TypeAlias

MOST_POINTS: Final = 300
"""Of one curve; more are averaged in as many runs of steps, as wide as a pixel or two."""
TICKS: Final = 4

Points: TypeAlias = Sequence[tuple[int, float]]
"""Steps, ascending, and values."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis."""

    place: float
    """In [0, 1]."""
    label: str


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    """In the unit square, y upwards."""
    first: str
    last: str
    """Its first and last value, in words."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over one pair of axes."""

    title: str
    curves: Sequence[Curve]
    steps: Sequence[Tick]
    values: Sequence[Tick]
    logged: int
    """Steps with a value, of the curve that has most."""

    @property
    def averaged(self) -> bool:
        """Whether a point stands for several logged steps."""
        return self.logged > MOST_POINTS


def draw_chart(
    title: str, series: Mapping[str, Points], *, bounds: tuple[float, float] | None = None
) -> Chart | None:
    """Lay out curves over the steps from 0 on; None where none has a finite value.

    Args:
        bounds: of the values; otherwise as far as they reach, widened to round numbers.
    """
    finite = {name: [point for point in points if isfinite(point[1])] for name, points in series.items()}
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return None
    thinned = {name: list(_thin(points)) for name, points in finite.items()}
    last_step = max(points[-1][0] for points in finite.values())
    values = [value for points in thinned.values() for _, value in points]
    ticks = _round_ticks(*(bounds or (min(values), max(values))))
    low, high = ticks[0], ticks[-1]
    return Chart(
        title,
        [
            Curve(
                name,
                [(step / last_step, (value - low) / (high - low)) for step, value in points],
                f"{finite[name][0][1]:.4g}",
                f"{finite[name][-1][1]:.4g}",
            )
            for name, points in thinned.items()
        ],
        [Tick(step / last_step, _short(step)) for step in _round_ticks(0, last_step) if step <= last_step],
        [Tick((value - low) / (high - low), f"{value:g}") for value in ticks],
        max(len(points) for points in finite.values()),
    )


def _short(step: float) -> str:
    return f"{step / 1000:g}k" if step >= 10_000 else f"{step:,.0f}"


def _thin(points: Points) -> Iterator[tuple[float, float]]:
    """Yield points, or means of as many runs of neighbours as there may be points."""
    runs = min(len(points), MOST_POINTS)
    for number in range(runs):
        part = points[number * len(points) // runs : (number + 1) * len(points) // runs]
        yield sum(step for step, _ in part) / len(part), sum(value for _, value in part) / len(part)


def _round_ticks(low: float, high: float) -> list[float]:
    """Return a few round numbers, evenly spaced, that enclose two others; at least two."""
    if high - low <= abs(high) * 1e-9:
        reach = abs(high) / 2 or 0.5
        low, high = low - reach, high + reach
    raw = (high - low) / TICKS
    unit = 10.0 ** floor(log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * (1 - 1e-9))
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
