"""The page of a training run: what its log and its evaluations tell, and what is missing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from statistics import median
from typing import Any, Final, TypeAlias

from mvcap.report.page.angle_cells import AngleRow, angle_differences, angle_rows, azimuth_edges
from mvcap.report.page.curves import Chart, Points, draw_chart
from mvcap.report.page.writing import render_page
from mvcap.report.titles import title_of

SCRIPTS: Final = ("elements.js", "theme.js", "training.js")
ABOUT_STEPS: Final = ("learning_rate", "gradient_norm", "inverse_temperature")
ABOUT_ANCHORS: Final = ("bank_outliers_agree", "bank_anchor_cosine", "outliers_kept", "anchor_cosine")
ABOUT_TIME: Final = ("epoch", "step_s", "waited_s")
ABOUT_ALL: Final = ("loss", *ABOUT_STEPS, *ABOUT_ANCHORS, *ABOUT_TIME)
"""What is logged besides the terms of the loss, each of which has the name of its setting."""

Told: TypeAlias = Mapping[str, Any]
"""A set as `results.json` tells it."""


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What is known of one evaluated set: at least one of both models."""

    name: str
    after: Told | None
    before: Told | None
    difference: Mapping[str, float] | None
    """Of top-1, with its interval; None where the models were not evaluated together."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run's folder and its evaluations hold."""

    folder: str
    recipe: Mapping[str, Any]
    settings: Mapping[str, Any]
    """Flat: what decides the result."""
    model: Mapping[str, Any]
    log: Mapping[str, Points]
    sets: Sequence[SetFacts]
    interpolate: float
    """Share of the tuned weights in the model that was evaluated."""
    where: Sequence[str]
    """Folders of the evaluations."""


@dataclass(frozen=True, slots=True)
class Heat:
    """Accuracy by angle of one set."""

    name: str
    azimuths: Sequence[str]
    tables: Sequence[tuple[str, Sequence[AngleRow]]]
    """Under their titles."""
    difference: Sequence[AngleRow] | None


def training_page(facts: RunFacts) -> bytes:
    """Write the whole page, as UTF-8."""
    terms = [name for name in facts.log if name not in ABOUT_ALL]
    loss = draw_chart("loss", {"loss": facts.log.get("loss", ())})
    steps = max((points[-1][0] for points in facts.log.values()), default=0)
    return render_page(
        "training.html",
        SCRIPTS,
        {},
        facts=facts,
        name=title_of(facts.recipe["name"], Path(facts.folder)),
        steps=steps,
        total=facts.recipe["optimiser"]["steps"],
        loss=loss,
        terms=list(_charts(facts, terms)),
        course=list(_charts(facts, ABOUT_STEPS)),
        anchors=draw_chart(
            "agreement", {name: facts.log[name] for name in ABOUT_ANCHORS if name in facts.log}, bounds=(0, 1)
        ),
        banked="bank_outliers_agree" in facts.log,
        source=facts.recipe["anchors"]["source"],
        tiles=list(_tiles(facts, loss)),
        heats=[heat for told in facts.sets if (heat := _heat(told))],
        unseen=[told.name for told in facts.sets if not _heat(told)],
        compared=[told for told in facts.sets if told.after and told.before],
        alone=[told for told in facts.sets if not (told.after and told.before)],
        evaluate=f"mvcap eval {quote(facts.folder)} --data my_dataset",
    )


def _charts(facts: RunFacts, names: Sequence[str]) -> Iterator[Chart]:
    for name in names:
        if chart := draw_chart(name, {name: facts.log.get(name, ())}):
            yield chart


def _tiles(facts: RunFacts, loss: Chart | None) -> Iterator[tuple[str, str]]:
    """Yield figures and what they are, for the top of the page."""
    yield (
        f"{max((points[-1][0] for points in facts.log.values()), default=0):,}",
        f"steps of {facts.recipe['optimiser']['steps']:,}",
    )
    if loss:
        yield loss.curves[0].last, f"loss, from {loss.curves[0].first}"
    if epochs := facts.log.get("epoch"):
        yield f"{epochs[-1][1]:.3g}", "epochs"
    if seconds := [value for _, value in facts.log.get("step_s", ())]:
        yield f"{median(seconds):.3g} s", "for a step, the median"
        waited = sum(value for _, value in facts.log.get("waited_s", ()))
        yield f"{waited / sum(seconds):.0%}", "of that spent waiting for pictures"
    for told in facts.sets:
        if told.after and told.before:
            change = told.after["top1"]["mean"] - told.before["top1"]["mean"]
            yield f"{100 * change:+.1f}", f"points of top-1 on {told.name}"


def _heat(told: SetFacts) -> Heat | None:
    """Lay out what is known of a set by angle; None where its cameras are not known."""
    tables = [
        (title, one["angles"])
        for title, one in (("before", told.before), ("after", told.after))
        if one and one["angles"]
    ]
    if not tables:
        return None
    return Heat(
        told.name,
        azimuth_edges(tables[0][1]),
        [(title, angle_rows(angles)) for title, angles in tables],
        angle_differences(tables[1][1], tables[0][1]) if len(tables) == 2 else None,
    )
