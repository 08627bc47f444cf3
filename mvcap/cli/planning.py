"""The commands that come before a build: `filter` chooses objects, `plan` tells what a recipe takes."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mvcap.cli.app import app
from mvcap.cli.configuring import configure, make_runner
from mvcap.cli.estimates import print_plan
from mvcap.cli.options import Address, AsJson, Models, Recipe, RunnerName, Settings, path_of, place_of, say


@app.command("filter")
def filter_(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", parser=path_of, help="The Parquet file to write.")
    ],
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings", metavar="FILE", parser=path_of, help="OpenShape's; fetched if not given."
        ),
    ] = None,
    categories: Annotated[
        str | None,
        typer.Option("--categories", metavar="lvis|imagenet|FILE", help="Names, one a line in a file."),
    ] = None,
    category_vectors: Annotated[
        Path | None,
        typer.Option(
            "--category-vectors", metavar="FILE", parser=path_of, help="A .npy or .safetensors file."
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep", metavar="N", help="So many objects, the most similar.")
    ] = None,
    config: Recipe = None,
    runner: RunnerName = "local",
    address: Address = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Choose the objects of Objaverse that are clearly of one category, by OpenShape's embeddings.

    Beside FILE stand FILE's name with `.left-out.parquet`, every other object with its reason, and with
    `.json`, the counts. The `objaverse` source takes FILE as its option `selection`.

    Example: `mvcap filter --keep 24495 --out chosen.parquet`

    Example: `mvcap filter --embeddings objaverse.pt --category-vectors lvis.npy --out chosen.parquet`
    """
    from pipelines.filter_tables import describe
    from pipelines.filtering import filter_to_files

    given = {"file": embeddings, "categories": categories, "category_vectors": category_vectors, "keep": keep}
    flags = [f"filter.{name}={json.dumps(str(value))}" for name, value in given.items() if value is not None]
    configured = configure(config, None, [*flags, *(settings or [])], captions=False)
    summary = filter_to_files(configured, out, make_runner(runner, address, configured), say)
    print(json.dumps(summary, indent=1) if as_json else describe(summary))


@app.command()
def plan(
    config: Recipe = None,
    models: Models = None,
    out: Annotated[
        Any,
        typer.Option("--out", metavar="DIR", parser=place_of, help="The dataset: its own speed and rows."),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 where anything is missing on this machine.")
    ] = False,
) -> None:
    """Print what a recipe takes: objects, views, bytes, CPU and GPU hours, and what is missing here.

    Nothing is fetched, rendered or written, and no network is needed. Rates are measured ones, and each says
    where; a dataset that was built with the same settings, given by `--out`, tells its own.

    Example: `mvcap plan --config mvcap-4m --set render.preset=fast`
    """
    complete = print_plan(config, models, settings, out, as_json=as_json)
    raise typer.Exit(0 if complete or not strict else 1)
