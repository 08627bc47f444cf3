"""The commands that hand a dataset on: `export`, `push`."""

from pathlib import Path
from typing import Annotated

import typer

from mvcap.cli.app import app
from mvcap.cli.options import Dataset, Settings, path_of, say
from mvcap.errors import UsageError
from mvcap.quantities import by_number, quantity


@app.command()
def export(
    dataset: Dataset,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", parser=path_of, help="A new folder.")],
    format_name: Annotated[str, typer.Option("--format", metavar="NAME", help="The layout: see above.")],
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Only the objects of this split.")
    ] = None,
    licenses: Annotated[
        list[str] | None,
        typer.Option(
            "--license", metavar="NAME", help="Only objects under this licence, or unknown; may be repeated."
        ),
    ] = None,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates/--no-duplicates", help="Whether objects count that look like an earlier one."
        ),
    ] = True,
    settings: Settings = None,
) -> None:
    """Write a dataset in another layout, with `objects.parquet` beside it, which names every creator.

    - `folder`: a folder for each split and category, for torchvision and `datasets`

    - `lance`: a Lance table with every column

    - `mvcap-json`: as MVCap was published, `metadata.json` and `views/UID/NNN.png`; up to 100 views each

    - `webdataset`: tars for `webdataset`, in the layout that clip_benchmark evaluates on

    Example: `mvcap export my_dataset --format webdataset --out my_tars --split test`

    Example: `mvcap export my_dataset --format mvcap-json --out my_mvcap --license CC0-1.0`
    """
    from mvcap.exports._chosen import Choice
    from pipelines.exporting import export_dataset

    choice = Choice(split, frozenset(licenses or ()), duplicates)
    views = export_dataset(dataset, format_name, out, settings or [], choice=choice)
    say(f"wrote {quantity(views, 'view')} to {out}")


@app.command()
def push(
    dataset: Dataset,
    repo: Annotated[
        str,
        typer.Option(
            "--repo", metavar="OWNER/NAME", help="A dataset repository; made where it is not there."
        ),
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository that only you can see.")
    ] = False,
    revision: Annotated[
        str, typer.Option("--revision", metavar="BRANCH", help="The branch; made where it is not there.")
    ] = "main",
) -> None:
    """Put a finished dataset on the Hugging Face hub: data first, card and manifest last.

    Run `hf auth login` first, with a token that may write. What the hub has already is known by its hash and
    not sent again, so the same command goes on after any interruption, and sends what changed after a change.
    `manifest.json` names each file with its SHA-256. Logs, plans and the report stay here.

    Example: `mvcap push my_dataset --repo me/chairs --private`
    """
    from mvcap.pushes import Repository
    from pipelines.pushing import push_dataset

    if repo.count("/") != 1 or not all(repo.split("/")):
        raise UsageError(f"--repo {repo} is not OWNER/NAME, such as me/chairs")
    pushed = push_dataset(path_of(str(dataset)), Repository(repo, revision), private=private, say=say)
    say(
        f"sent {quantity(pushed.sent, 'file')}, {pushed.bytes / 1e6:.1f} MB; {pushed.already_there} "
        f"{by_number(pushed.already_there, 'was', 'were')} there already"
        if pushed.sent
        else f"all {pushed.already_there} files were there already"
    )
    print(pushed.url)
