"""OBJ: that it has vertices, and what its material libraries name."""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from mvcap.errors import BAD_ASSET
from render.asset_checks.pictures import check_picture_file
from render.asset_checks.problem import AssetProblem, Caps, followed, stays_inside

# What stands before a word is no line break: else a run of blank lines would be read again from each of them.
MAP_LINE = re.compile(
    rb"^[^\S\n]*(?:map_\w+|bump|disp|decal|refl|norm)[ \t]+([^\r\n]+)", re.MULTILINE | re.IGNORECASE
)


def check_obj(path: Path, caps: Caps) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if not re.search(rb"^[^\S\n]*v[ \t]", content, re.MULTILINE):
            raise AssetProblem(BAD_ASSET, f"{path.name} has no vertex line")
        libraries = re.findall(rb"^[^\S\n]*mtllib[ \t]+([^\r\n]+)", content, re.MULTILINE)
    for library in libraries:
        name = library.decode("utf-8", "replace").strip()
        if not stays_inside(path.parent, name):
            raise AssetProblem(BAD_ASSET, f"{path.name} refers to {library[:200]!r}, outside its own folder")
        for picture in pictures_of(path.parent / name, followed(path.parent)):
            check_picture_file(picture, caps)


def pictures_of(library: Path, folder: Path) -> Iterator[Path]:
    """List the pictures that a material library names and that lie in the asset's folder.

    No others are used. Options such as `-bm 1.0` may stand before a name, and a name may hold spaces.
    """
    if not library.is_file():
        return
    for line in set(MAP_LINE.findall(library.read_bytes())):
        words = line.decode("utf-8", "replace").replace("\0", "").strip().split(" ")
        for first in range(len(words)):
            picture = followed(library.parent / " ".join(words[first:]).replace("\\", "/"))
            if picture.is_relative_to(folder) and picture.is_file():
                yield picture
                break
