"""Options that several commands have."""

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mvcap.places import Place, parse_place


def path_of(text: str | Path) -> Path:
    """Refuse an empty path, such as that of an unset variable: `Path` takes it for the present folder."""
    if not str(text):
        raise typer.BadParameter("the path is empty; `.` is the present folder")
    if "://" in str(text):
        raise typer.BadParameter(f"{text} is a URL, and a path on this machine is needed here")
    return Path(text)


def place_of(text: str | Place) -> Place:
    """Read a dataset's place: a folder, or a URL of storage."""
    return parse_place(text) if isinstance(text, str) and text else path_of(str(text))


Models = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="FOLDER",
        parser=path_of,
        help="Your 3D models: glb, gltf, obj, fbx, stl, ply, usd; nested as you like.",
    ),
]
# Typer knows no unions: what is a `mvcap.places.Place` stands as Any, and its parser makes it one.
Out = Annotated[
    Any,
    typer.Option(
        "--out", metavar="DIR", parser=place_of, help="The dataset: a folder, or s3://bucket/prefix."
    ),
]
Dataset = Annotated[Any, typer.Argument(metavar="DIR", parser=place_of, help="The dataset.")]
StealLock = Annotated[
    bool,
    typer.Option(
        "--steal-lock", help="Take the dataset from a driver on another machine that cannot be ended."
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option("--config", metavar="NAME_OR_FILE", help="A recipe, such as demo, or a YAML file."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Change one setting; may be repeated.")
]
RunnerName = Annotated[
    str,
    typer.Option(
        "--runner", metavar="ray|local", help="Where the stages run: Ray, or threads of this process."
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="An existing Ray cluster: auto or HOST:PORT."),
]
PICTURES: Final = "Pictures"
"""A panel of the help."""
Views = Annotated[
    int | None,
    typer.Option("--views", metavar="N", help="Pictures of each object (100).", rich_help_panel=PICTURES),
]
Resolution = Annotated[
    int | None,
    typer.Option("--resolution", metavar="PX", help="Width and height (512).", rich_help_panel=PICTURES),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="fast: a hard sun and painted light, for large datasets; physical: soft shadows, all light "
        "traced; reference: the same with most samples (physical).",
        rich_help_panel=PICTURES,
    ),
]
Slice = Annotated[
    str | None, typer.Option("--shard", metavar="K/N", help="Only slice K of N, 0 <= K < N, of the shards.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
