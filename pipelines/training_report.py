"""Write the page of a training run from its log and what `mvcap eval` left of it and of its base."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvcap.errors import OutputError, UsageError
from mvcap.report.page.training import RunFacts, SetFacts, Told, training_page
from pipelines.reporting import save_page
from training.run_files import EVALUATION, LOG, RESULTS, RUN


@dataclass(frozen=True, slots=True)
class TrainingPage:
    """A page, as it was written."""

    path: Path
    bytes: int
    steps: int
    """Logged ones."""
    sets: int
    """That were evaluated."""


def report_training(run: Path, evaluations: Sequence[Path] | None, out: Path | None) -> TrainingPage:
    """Write the page of a run; what is not there yet, the page says.

    Args:
        evaluations: folders of `mvcap eval`, of this run or of the pretrained model; where None, that in the
            run's folder, if it is there.
        out: where to put it, if not into the run's folder.

    Raises:
        OutputError: the folder holds no run, a named one no evaluation, or the page cannot be written.
        UsageError: an evaluation is of another run or model.
    """
    facts = gather_run(run, evaluations)
    page = training_page(facts)
    path = out or run / "report.html"
    save_page(path, page)
    logged = max((len(points) for points in facts.log.values()), default=0)
    return TrainingPage(path, len(page), logged, len(facts.sets))


def gather_run(run: Path, evaluations: Sequence[Path] | None) -> RunFacts:
    """Read everything that the page tells."""
    told = _read_json(run / RUN, f"{run} is not a run of `mvcap train`")
    folders = evaluations if evaluations is not None else _found(run)
    results = [
        _read_json(folder / RESULTS, f"{folder} is no result of `mvcap eval`; run it with --out {folder}")
        for folder in folders
    ]
    for folder, result in zip(folders, results, strict=True):
        _check_owner(folder, result, run, told)
    return RunFacts(
        folder=str(run),
        recipe=told["recipe"],
        settings=told["settings"],
        model=told["model"],
        log=read_log(run / LOG),
        sets=list(_sets(results)),
        interpolate=next((result["interpolate"] for result in results if result["run"]), 1.0),
        where=[str(folder) for folder in folders],
    )


def _found(run: Path) -> list[Path]:
    return [run / EVALUATION] if (run / EVALUATION / RESULTS).exists() else []


def read_log(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Read each figure's steps, ascending, and values; nothing without a log, and no torn line."""
    found: defaultdict[str, dict[int, float]] = defaultdict(dict)
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return {}
    for line in lines:
        try:
            figures = json.loads(line)
            step = int(figures.pop("step"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        for name, value in figures.items():
            if isinstance(value, (int, float)):
                found[name][step] = float(value)
    return {name: sorted(values.items()) for name, values in found.items()}


def _read_json(path: Path, otherwise: str) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise OutputError(f"{otherwise}: {path} cannot be read") from error


def _check_owner(folder: Path, result: Mapping[str, Any], run: Path, told: Mapping[str, Any]) -> None:
    """Refuse figures of something else.

    Raises:
        UsageError: with what the folder is an evaluation of.
    """
    if result["run"] is not None and result["run"] != run.absolute().name:
        raise UsageError(f"{folder} is an evaluation of the run {result['run']}, not of {run}")
    if result["model"] != told["model"]:
        raise UsageError(
            f"{folder} is an evaluation of {result['model']}; {run} was tuned from {told['model']}"
        )


def _sets(results: Sequence[Mapping[str, Any]]) -> Iterator[SetFacts]:
    """Put together what is told of sets of the same name; the last one told counts."""
    after: dict[str, Told] = {}
    before: dict[str, Told] = {}
    for result in results:
        for told in result["sets"]:
            (after if result["run"] else before)[told["name"]] = told
    for name in {**after, **before}:
        own = after.get(name)
        together = own["base"] if own and "base" in own else None
        yield SetFacts(
            name,
            own,
            together or before.get(name),
            own["difference"] if own and together else None,
        )
