"""What is wrong with a model file, and what its checks may refuse."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mvcap.errors import MvcapError, Reason


@dataclass(frozen=True, slots=True)
class Caps:
    """What a model file may claim or hold."""

    bytes: int
    """Of the file itself."""
    vertices: int
    texture_pixels: int
    """Of each picture."""


class AssetProblem(MvcapError):
    """Why an asset is not worth starting Blender for."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def stays_inside(folder: Path, reference: str) -> bool:
    """Tell whether a relative reference leads to a place in `folder`, symbolic links included."""
    if "\0" in reference or ":" in reference or PurePosixPath(reference).is_absolute():
        return False
    return followed(folder / reference.replace("\\", "/")).is_relative_to(followed(folder))


def followed(path: Path) -> Path:
    """Return where a path leads in the end.

    `Path.resolve` raises a RuntimeError for a link that leads to itself; here it is a file that is not there.
    """
    return Path(os.path.realpath(path))
