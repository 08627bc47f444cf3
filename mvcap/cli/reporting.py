"""The command that writes what a person looks at: `report`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mvcap.cli.app import app
from mvcap.cli.configuring import configure
from mvcap.cli.options import path_of, place_of, say
from mvcap.errors import UsageError
from mvcap.quantities import by_number, quantity


@app.command()
def report(
    places: Annotated[
        list[Any],
        typer.Argument(
            metavar="DIR", parser=place_of, help="The dataset; two with --compare; a run with --training."
        ),
    ],
    compare: Annotated[bool, typer.Option("--compare", help="Show two datasets side by side.")] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Show a run of `mvcap train`: its log, and what it is worth.")
    ] = False,
    evaluations: Annotated[
        list[Path] | None,
        typer.Option(
            "--eval",
            metavar="FOLDER",
            parser=path_of,
            help="With --training: results of `mvcap eval`, of the run or its pretrained model; may be "
            "repeated (DIR/eval).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            parser=path_of,
            help="The page (DIR/report/index.html; ./compare.html with --compare; DIR/report.html with "
            "--training).",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="How many views are listed (2000)."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another one draws other views.")] = 0,
) -> None:
    """Write a page to look at: captions to search, objects to turn, figures, the worst, what failed.

    It is one file that loads nothing from the network. Figures count every view; a sample over all
    categories is listed, since each listed view takes about 2 kB: 2000 of them 3 to 20 MB. Beyond 4000, views
    are listed without a picture. A finished build has written the page already.

    Example: `mvcap report my_dataset --sample 4000`

    With `--compare`, two datasets side by side: views of the same objects, such as those of one dataset that
    was captioned twice, or else views of the same categories.

    Example: `mvcap report --compare my_dataset my_other_dataset`

    With `--training`, a run: curves of its loss, agreement of its bank, accuracy by viewing angle before and
    after, what is left on ordinary pictures. The page says what is missing, and which command makes it.

    Example: `mvcap report --training my_run`
    """
    if compare and training:
        raise UsageError("--compare shows datasets, --training a run; give one of them")
    if evaluations and not training:
        raise UsageError("--eval belongs to --training")
    if len(places) != (2 if compare else 1):
        raise UsageError("name one dataset, two with --compare, or one run with --training")
    if training:
        _training(path_of(str(places[0])), evaluations, out)
        return
    from pipelines.reporting import SAMPLE

    if compare:
        _compare(places, out or Path("compare.html"), sample or SAMPLE, seed)
    else:
        _report(places[0], out, sample or SAMPLE, seed)


def _report(dataset: Any, out: Path | None, sample: int, seed: int) -> None:
    from pipelines.reporting import report_dataset

    written = report_dataset(_recorded(dataset), dataset, out, sample=sample, seed=seed)
    say(
        f"listed {written.listed:,} of {quantity(written.views, 'view')}, {written.pictured:,} of them with "
        f"pictures, in {written.bytes / 1e6:.1f} MB"
    )
    print(written.path)


def _training(run: Path, evaluations: list[Path] | None, out: Path | None) -> None:
    from pipelines.training_report import report_training

    written = report_training(run, evaluations or None, out)
    steps, sets = quantity(written.steps, "logged step"), quantity(written.sets, "set")
    say(f"read {steps} and the results on {sets}, in {written.bytes / 1e6:.1f} MB")
    print(written.path)


def _compare(datasets: list[Any], out: Path, sample: int, seed: int) -> None:
    from pipelines.comparing import compare_datasets

    first, second = ((dataset, _recorded(dataset)) for dataset in datasets)
    written = compare_datasets(first, second, out, sample=sample, seed=seed)
    pairs = (
        f"{quantity(written.pairs, 'view')} that {by_number(written.pairs, 'is', 'are')} in both"
        if written.same_views
        else f"{quantity(written.pairs, 'pair')} of views of the same categories"
    )
    say(f"listed {pairs}, in {written.bytes / 1e6:.1f} MB")
    print(out)


def _recorded(dataset: Any) -> Any:
    """Read the configuration that a dataset was built with."""
    from mvcap.storage import Store
    from pipelines.planning import saved_settings

    return configure(None, None, None, base=saved_settings(Store(dataset)), captions=False)
