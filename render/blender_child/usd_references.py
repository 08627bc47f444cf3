"""What a USD file refers to, found out with Blender's own USD library before it composes anything."""

import posixpath
import sys
import zipfile
from pathlib import Path
from typing import Any

import bpy

LAYERS = {".usd", ".usda", ".usdc"}
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".exr", ".hdr", ".tif", ".tiff", ".tga", ".bmp", ".avif"}
"""References that may lead anywhere: `importing.detach_missing_textures` looks at them one by one."""


def check_references(path: Path) -> None:
    """Refuse a USD file that is composed of anything outside its own folder, or outside its own package.

    USD opens whatever a layer names while it composes the scene, so every layer is looked at before.

    Raises:
        RuntimeError: a reference leaves the folder or the package, or leads to nothing.
    """
    folder = path.parent.resolve()
    waiting, seen = [path.resolve()], set()
    while waiting:
        layer = waiting.pop()
        if layer in seen:
            continue
        seen.add(layer)
        if layer.suffix.lower() == ".usdz":
            check_package(layer)
        else:
            waiting += [inside_folder(layer, name, folder) for name in references_of(str(layer))]


def check_package(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        names = set(archive.namelist())
    for name in names:
        if Path(name).suffix.lower() in LAYERS:
            for reference in references_of(f"{package}[{name}]"):
                if posixpath.normpath(posixpath.join(posixpath.dirname(name), reference)) not in names:
                    raise RuntimeError(f"{package.name} refers to {reference[:200]!r}, outside of itself")


def references_of(layer: str) -> list[str]:
    """List the layers, and whatever else is no picture, that a layer names."""
    extracted = usd_utilities().ExtractExternalReferences(layer)
    names = [name for kind in extracted for name in kind if name]
    return [name for name in names if Path(name).suffix.lower() not in PICTURES]


def inside_folder(layer: Path, reference: str, folder: Path) -> Path:
    target = (layer.parent / reference).resolve()
    if ":" in reference or "`" in reference or not target.is_relative_to(folder):
        raise RuntimeError(f"{layer.name} refers to {reference[:200]!r}, outside its own folder")
    if not target.is_file():
        raise RuntimeError(f"{layer.name} refers to {reference[:200]!r}, which is missing")
    return target


def usd_utilities() -> Any:
    """Import `pxr.UsdUtils`, which the bpy wheel carries beside its own Python."""
    bundled = Path(bpy.utils.resource_path("LOCAL")) / "python" / "lib"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sys.path.append(str(bundled / version / "site-packages"))
    try:
        from pxr import UsdUtils  # type: ignore[import-not-found]
    finally:
        sys.path.pop()
    return UsdUtils
