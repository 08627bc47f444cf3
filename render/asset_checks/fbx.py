"""FBX: the one kind that Blender imports, and the pictures inside it."""

import mmap
from pathlib import Path

from mvcap.errors import BAD_ASSET
from render.asset_checks.pictures import check_pictures_within
from render.asset_checks.problem import AssetProblem, Caps


def check_fbx(path: Path, caps: Caps) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[:18] != b"Kaydara FBX Binary":
            raise AssetProblem(BAD_ASSET, f"{path.name} is not a binary FBX, the only kind Blender imports")
        check_pictures_within(content, path.name, caps)
