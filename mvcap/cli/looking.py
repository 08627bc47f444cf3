"""The commands that look at what is there: `status`, `verify`, `doctor`."""

import json
import sys
from typing import Annotated, Any

import typer

from mvcap.cli.app import app
from mvcap.cli.configuring import configure
from mvcap.cli.options import AsJson, Dataset, Recipe, Settings, say
from mvcap.quantities import quantity


@app.command()
def status(
    dataset: Dataset,
    watch: Annotated[bool, typer.Option("--watch", help="Again and again, until it is complete.")] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, help="How often, with --watch.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Show how far a dataset is, what failed and why, what was slowest, and who is at work on it.

    Reads the plan, the commit records and the locks; it disturbs nobody. With `--watch --json`, a line of
    JSON each time.

    Example: `mvcap status my_dataset --json`

    Example: `mvcap status my_dataset --watch`
    """
    from pipelines import status_report
    from pipelines.status import dataset_status

    def show(state: dict[str, Any]) -> None:
        if as_json:
            print(json.dumps(state), flush=True)
            return
        if sys.stdout.isatty():
            print("\x1b[H\x1b[2J", end="")
        print(status_report.describe(state), flush=True)

    if watch:
        status_report.watch(dataset, show, say, every_s=every)
        return
    state = dataset_status(dataset)
    print(json.dumps(state, indent=1) if as_json else status_report.describe(state))


@app.command()
def verify(
    dataset: Dataset,
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every picture too, and check what each row says.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check every byte of a dataset. Broken shards are set aside, and the next build makes just these anew.

    Foreign and changed files are listed and left alone. The exit code is 1 where anything is wrong.

    With `--deep`, every picture is decoded and compared with the size in its row, and each row with the plan
    and its commit record: captions, splits, categories, and that no object or view is missing without a
    reason.

    Example: `mvcap verify my_dataset`

    Example: `mvcap verify my_dataset --deep --dry-run --json`
    """
    from mvcap.verify import verify_dataset

    problems = verify_dataset(dataset, mark=not dry_run, deep=deep)
    if as_json:
        print(
            json.dumps([{"file": problem.file, "message": problem.message} for problem in problems], indent=1)
        )
    else:
        for problem in problems:
            print(f"{problem.file}: {problem.message}")
    say(quantity(len(problems), "problem") if problems else f"{dataset} is whole")
    raise typer.Exit(1 if problems else 0)


@app.command()
def doctor(config: Recipe = None, settings: Settings = None, as_json: AsJson = False) -> None:
    """Check this machine: Python, packages, Blender, GPUs, Ray, memory, disk, hub; each with its remedy.

    It really renders a cube and starts a Ray. Exit code 1 where something fails that a build needs; lines
    with `note` are worth a look. With a recipe or settings, what these name is checked; a captioner that is a
    server captions one small picture.

    Example: `mvcap doctor`

    Example: `mvcap doctor --set render.blender=/opt/blender/blender --set captions.options.model=/models/t5`
    """
    from pipelines.doctor import examine

    named = config is not None or any(setting.startswith("captions.") for setting in settings or [])
    findings = []
    for finding in examine(lambda: configure(config, None, settings, captions=False), captions_named=named):
        findings.append(finding)
        if not as_json:
            print(finding, flush=True)
    if as_json:
        print(json.dumps([finding.to_json() for finding in findings], indent=1))
    raise typer.Exit(1 if any(finding.fatal for finding in findings) else 0)
