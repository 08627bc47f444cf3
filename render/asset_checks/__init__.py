"""Cheap checks of a model file before Blender sees it. They never raise for bad input.

Blender's importers trust what they read: a forged count makes them allocate, a URI makes them open any
file of the machine, a small picture can unpack to gigabytes. What is refused here costs milliseconds and
names its fault.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from mvcap.errors import BAD_ASSET, TOO_BIG
from render.asset_checks.fbx import check_fbx
from render.asset_checks.gltf import check_glb, check_gltf
from render.asset_checks.obj import check_obj
from render.asset_checks.problem import AssetProblem, Caps
from render.asset_checks.scans import check_ply, check_stl
from render.asset_checks.usd import check_usd, check_usdz

__all__ = ["CHECKS", "AssetProblem", "Caps", "find_problem"]

CHECKS: Final[dict[str, Callable[[Path, Caps], None]]] = {
    ".glb": check_glb,
    ".gltf": check_gltf,
    ".obj": check_obj,
    ".fbx": check_fbx,
    ".stl": check_stl,
    ".ply": check_ply,
    ".usd": check_usd,
    ".usda": check_usd,
    ".usdc": check_usd,
    ".usdz": check_usdz,
}


def find_problem(asset: str, caps: Caps) -> AssetProblem | None:
    """Return what is wrong with a model file, or None where Blender may try.

    Args:
        asset: path of the file; its suffix decides the format.
        caps: on the file's own size, and on what its header claims for the formats that have one.
    """
    path = Path(asset)
    try:
        check_file(path, caps.bytes)
        CHECKS[path.suffix.lower()](path, caps)
    except AssetProblem as problem:
        return problem
    except OSError as error:
        name = Path(error.filename).name if error.filename else path.name  # it may be a file that it names
        return AssetProblem(BAD_ASSET, f"{name} cannot be read: {error.strerror}")
    return None


def check_file(path: Path, max_bytes: int) -> None:
    if path.suffix.lower() not in CHECKS:
        known = " ".join(sorted(CHECKS))
        raise AssetProblem(BAD_ASSET, f"{path.name}: unknown format {path.suffix!r} (known: {known})")
    if not path.is_file():
        raise AssetProblem(BAD_ASSET, f"{path.name} is not a file")
    if (size := path.stat().st_size) == 0:
        raise AssetProblem(BAD_ASSET, f"{path.name} is empty")
    if size > max_bytes:
        raise AssetProblem(TOO_BIG, f"{path.name} has {size} bytes; max_asset_mb allows {max_bytes}")
