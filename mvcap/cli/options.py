"""Options that several commands have."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def path_of(text: str | Path) -> Path:
    """Refuse an empty path, such as that of an unset variable: `Path` takes it for the present folder."""
    if not str(text):
        raise typer.BadParameter("the path is empty; `.` is the present folder")
    return Path(text)


Models = Annotated[
    Path | None,
    typer.Option(
        "--models",
        metavar="FOLDER",
        parser=path_of,
        help="Your 3D models: glb, gltf, obj, fbx, stl, ply, usd; nested as you like.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", parser=path_of, help="The dataset's folder.")]
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
Slice = Annotated[
    str | None, typer.Option("--shard", metavar="K/N", help="Only slice K of N, 0 <= K < N, of the shards.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
