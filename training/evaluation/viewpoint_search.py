"""Look for the viewpoints from which a model is most mistaken: again and again near the worst so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, radians
from typing import Final

import numpy as np

Angles = tuple[float, float]
"""Azimuth in [0, 360) and elevation in [0, 90] degrees."""
Look = Callable[[Sequence[Angles]], Sequence[float | None]]
"""Given viewpoints, the margin of each: how much nearer the true class is than the best other one. None where
the picture shows too little to be judged."""

KEPT: Final = 3
"""Of the worst viewpoints so far, near which each round looks."""
FIRST_STEP_DEG: Final = 25.0
"""Standard deviation of a step of the first round; half as much in each further one."""
STEEPEST_DEG: Final = 80.0
"""Azimuths run together towards the pole: steps are not widened beyond this elevation."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model made of an object from a viewpoint."""

    angles: Angles
    margin: float
    """Positive where it is right."""


def look_at(look: Look, viewpoints: Sequence[Angles]) -> list[Seen]:
    """Judge viewpoints, without those that show too little."""
    margins = look(viewpoints)
    pairs = zip(viewpoints, margins, strict=True)
    return [Seen(angles, margin) for angles, margin in pairs if margin is not None]


def search_worst(
    look: Look, seen: Sequence[Seen], *, rounds: int, per_round: int, rng: np.random.Generator
) -> list[Seen]:
    """Return what was seen on the way from given viewpoints towards the worst one.

    A random search in shrinking steps around the few worst: margins are neither smooth nor cheap, and have
    several valleys.
    """
    found: list[Seen] = list(seen)
    begun = len(found)
    for turn in range(rounds):
        worst = sorted(found, key=lambda one: one.margin)[:KEPT]
        if not worst:
            break
        step_deg = FIRST_STEP_DEG / 2**turn
        around = [worst[index % len(worst)].angles for index in range(per_round)]
        found += look_at(look, [_moved(angles, step_deg, rng) for angles in around])
    return found[begun:]


def _moved(angles: Angles, step_deg: float, rng: np.random.Generator) -> Angles:
    azimuth, elevation = angles
    sideways, upwards = rng.normal(0, step_deg, 2)
    azimuth += sideways / cos(radians(min(elevation, STEEPEST_DEG)))
    elevation = abs(elevation + upwards)  # back up from the horizon
    if elevation > 90:  # down the other side
        azimuth, elevation = azimuth + 180, max(180 - elevation, 0.0)
    return float(azimuth % 360), float(elevation)
