"""The commands that hand a dataset on: `export`."""

from pathlib import Path
from typing import Annotated

import typer

from mvcap.cli.app import app
from mvcap.cli.options import Dataset, Settings, path_of, say


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
    say(f"wrote {views} views to {out}")
