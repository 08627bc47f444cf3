"""The Typer application, on which each file of commands puts its own."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from mvcap import __version__


class _Group(TyperGroup):
    """Shows in the help what to write, such as DIR, without the types that Typer adds: `<Any>`, `<bool>`."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _hide_types(command.get_params(ctx))
        return command

    def get_params(self, ctx: Any) -> Any:
        parameters = super().get_params(ctx)
        _hide_types(parameters)
        return parameters


def _hide_types(parameters: Iterable[Any]) -> None:
    for parameter in parameters:
        if isinstance(parameter, TyperArgument):
            vars(parameter)["display_type_rich"] = _no_type  # its metavar stands in another column
        elif isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""


def _no_type(ctx: Any) -> None:
    """Stand for a parameter's type in a table of the help."""


app = typer.Typer(
    name="mvcap",
    cls=_Group,
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
