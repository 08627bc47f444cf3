"""The Typer application, on which each file of commands puts its own."""

from typing import Annotated

import typer

from mvcap import __version__

app = typer.Typer(
    name="mvcap",
    help="Build captioned multi-view datasets from 3D objects.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    pass
