"""Evaluate a run's model, or a pretrained one, on several sets, and write it down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvcap import files
from mvcap.errors import EmptyInputError, UsageError
from mvcap.quantities import quantity
from training.checkpoints import latest_checkpoint
from training.evaluation.earlier import joined, read_earlier
from training.evaluation.evaluate import Result, evaluate, open_set, parse_sets
from training.evaluation.reporting import collect, write_report
from training.evaluation.suites import read_suite, summarise, with_suite
from training.evaluation.zero_shot import Templates
from training.finished import open_tuned, require_share
from training.loading import dead_loaders_explained
from training.logs import showing
from training.recipes import build_config, read_config
from training.runs import create_encoder, read_facts
from training.student import Student


@dataclass(frozen=True, slots=True)
class Model:
    """Which model: a run's, or the pretrained one of a recipe."""

    run: Path | None
    recipe: str | None
    settings: tuple[str, ...]
    interpolate: float

    def __post_init__(self) -> None:
        """Refuse what contradicts itself before anything is opened.

        Raises:
            UsageError: both are given, or neither, or a run's settings, or no share to interpolate by.
            OutputError: there is no such run.
        """
        require_share(self.interpolate)
        if (self.run is None) == (self.recipe is None):
            raise UsageError("name a run of `mvcap train`, or --config RECIPE for its pretrained model")
        if self.run is not None and self.settings:
            raise UsageError("--set changes a recipe; a run has its own")
        if self.run is None and self.interpolate != 1:
            raise UsageError("--interpolate is between a run and its pretrained model: name a run")
        if self.run is not None:
            read_facts(self.run)

    def open(self) -> Student:
        """Load it.

        Raises:
            MvcapError: it cannot be had.
        """
        if self.run is not None:
            return open_tuned(self.run, interpolate=self.interpolate)
        config = read_config(str(self.recipe), self.settings)
        return Student(create_encoder(config.model), None).eval()

    def open_base(self) -> Student:
        """Load the model that the run began with."""
        assert self.run is not None
        config = build_config(read_facts(self.run)["recipe"])
        return Student(create_encoder(config.model), None).eval()


def run_evaluation(
    model: Model,
    data: Sequence[str],
    out: Path,
    *,
    split: str,
    names: Path | None,
    suite: str | None,
    templates: Templates,
    with_base: bool,
    batch: int,
    loaders: int,
    device: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Evaluate, add the results to those of a folder, and return them as plain values.

    A set that was evaluated before is replaced there; all others are kept.

    Args:
        suite: the name or file of one, whose sets are added to `data`.

    Raises:
        OutputError: the folder cannot be written, or holds results of something else.
        MvcapError: the model or a set cannot be had.
    """
    files.require_writable(out)
    wanted = parse_sets(data, split, names)
    chosen = read_suite(suite) if suite else None
    if not (wanted or chosen):
        raise EmptyInputError("nothing to evaluate on: give --data FOLDER")
    sets = [open_set(pictures) for pictures in (with_suite(chosen, wanted) if chosen else wanted)]

    def on_all(student: Student, what: str) -> list[Result]:
        found = []
        for opened in sets:
            say(
                f"{what} on {opened.name}: {quantity(len(opened.labels), 'picture')}, "
                f"{quantity(len(opened.classes), 'class', 'classes')}"
            )
            with showing(len(opened.labels), what="picture") as show, dead_loaders_explained():
                result = evaluate(
                    student,
                    opened,
                    templates=templates,
                    batch=batch,
                    loaders=loaders,
                    device_name=device,
                    advance=lambda done, show=show: show(done, ""),  # type: ignore[misc]
                )
            found.append(result)
        return found

    student = model.open()
    checkpoint = latest_checkpoint(model.run) if model.run else None
    facts = {
        "model": student.encoder.identity(),
        "run": model.run.name if model.run else None,
        "step": checkpoint.step if checkpoint else None,
        "interpolate": model.interpolate,
        "templates": templates,
    }
    earlier = read_earlier(out, facts)
    results = on_all(student, "the tuned model" if model.run else "the model")
    base = on_all(model.open_base(), "the pretrained model") if model.run and with_base else []
    report = collect(results, {result.name: result for result in base}, facts)
    if chosen:
        report |= summarise(chosen, report["sets"])
    write_report(out, joined(earlier, report), results)
    say(f"wrote {out}")
    return report
