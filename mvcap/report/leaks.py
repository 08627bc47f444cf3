"""What the card says of objects that evaluation and training might share."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeakFigures:
    """How many objects were kept apart, and how many look alike."""

    evaluation: int
    """Objects that a list keeps out of training."""
    left_out: int
    """Of these and their twins, those that are not in the dataset at all."""
    unknown: int
    """Entries of the list that name no object."""
    twin_groups: int
    """Assets that several objects of one split have, byte for byte, and none of another."""
    lookalikes: int | None
    """Objects that look like an earlier one; None where nothing could be looked at."""
    leaking: int
    """Of these, training objects that look like one of another split."""


def leak_rows(figures: LeakFigures) -> Iterator[tuple[str, object]]:
    """Yield what is worth telling, as rows of a table."""
    if figures.evaluation or figures.unknown:
        yield "evaluation objects kept out of training", figures.evaluation
        yield "objects left out of the dataset for it", figures.left_out
        yield "entries of the list that name no object", figures.unknown
    yield "assets that several objects have, which are in one split", figures.twin_groups
    if figures.lookalikes is None:
        yield "objects that look like another", "not looked for: nothing was rendered"
    else:
        yield "objects that look like another, in column duplicate_of", figures.lookalikes
        yield "training objects that look like one of another split", figures.leaking
