"""The card's section about captions: what they name, what is wrong with them, how much they differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mvcap.quantities import quantity


@dataclass(frozen=True, slots=True)
class ControlFigures:
    """The same views captioned with and without the category in the prompt."""

    views: int
    guided: float
    """Share in [0, 1] of the dataset's captions that name the category."""
    unguided: float
    """The same share where the prompt does not name it."""


@dataclass(frozen=True, slots=True)
class CaptionFigures:
    """What was counted over all captions of a dataset; shares are in [0, 1]."""

    captions: int
    judged: int
    """Captions with quality columns; those of older versions have none."""
    matches: Mapping[str, int]
    """How many judged captions name their category, for each way: exact, plural, synonym."""
    named_instead: int
    """Judged captions that name another category of the dataset and not their own."""
    flags: Mapping[str, int]
    """How many judged captions have each defect."""
    retried: int
    identical: float
    """Share of captions whose very text another view has too."""
    distinct_2: float
    """Different pairs of neighbouring words over all such pairs; 0 where there are none."""
    category_agreement: float | None
    """Mean over objects of the share of views that name what most of its views name."""
    colour_agreement: float | None
    """The same of the colour; only views that name one count."""
    clip_scores: Mapping[str, float] = field(default_factory=dict)
    """Elevation bin -> median cosine of picture and caption; empty where it was not asked for."""


def caption_rows(figures: CaptionFigures, control: ControlFigures | None) -> Iterator[tuple[str, str]]:
    """Yield (measure, value) for the card."""
    yield "captions", str(figures.captions)
    if figures.judged:
        named = sum(figures.matches.values())
        ways = ", ".join(f"{way} {_share(count, figures)}" for way, count in figures.matches.items() if count)
        yield "name their category", _share(named, figures) + (f" ({ways})" if ways else "")
        yield "name another category of the dataset instead", _share(figures.named_instead, figures)
        for flag, count in sorted(figures.flags.items()):
            yield f"flag {flag}", _share(count, figures)
        yield "written a second time", _share(figures.retried, figures)
    yield "share an identical text with another view", f"{figures.identical:.1%}"
    yield "distinct-2", f"{figures.distinct_2:.4f}"
    if figures.category_agreement is not None:
        yield "views of an object that name the same category", f"{figures.category_agreement:.1%}"
    if figures.colour_agreement is not None:
        yield "views of an object that name the same colour", f"{figures.colour_agreement:.1%}"
    for elevation, score in figures.clip_scores.items():
        yield f"median CLIP score at elevation {elevation}", f"{score:.3f}"
    if control:
        change = f"{control.guided:.1%} with guidance, {control.unguided:.1%} without"
        yield f"name their category, {quantity(control.views, 'view')} captioned both ways", change


def _share(count: int, figures: CaptionFigures) -> str:
    return f"{count / figures.judged:.1%}"
