"""Read the catalogue of an unpacked furniture library."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mvcap.errors import AssetFolderError

CATALOG = "PluginFurnitureCatalog.properties"

LICENSES = (
    ("public domain", "CC0-1.0"),
    ("3.0 united states", "CC-BY-3.0-US"),
    ("attribution 3.0", "CC-BY-3.0"),
)
"""Words of a library's own licence line and their SPDX names; the first match counts."""


@dataclass(frozen=True, slots=True)
class Furniture:
    """One model of a library."""

    id: str
    name: str
    model: Path
    creator: str | None
    license: str
    url: str
    rotation: tuple[float, ...] | None
    """Row-major 3×3 in the world frame (+Z up)."""


def read_catalog(library: Path) -> Iterator[Furniture]:
    """Yield every model of an unpacked library.

    Raises:
        AssetFolderError: the folder has no catalogue, or a model's path leads out of it.
    """
    properties = parse_properties(_catalog_text(library))
    license_name = _license(properties.get("license", ""))
    url = f"https://{properties.get('provider', 'www.sweethome3d.com')}"
    for key, source_id in properties.items():
        name, _, number = key.partition("#")
        if name == "id" and number:
            yield Furniture(
                id=source_id,
                name=properties.get(f"name#{number}", source_id),
                model=_inside(library, properties.get(f"model#{number}", "")),
                creator=properties.get(f"creator#{number}"),
                license=license_name,
                url=url,
                rotation=_world_rotation(properties.get(f"modelRotation#{number}")),
            )


def parse_properties(text: str) -> dict[str, str]:
    r"""Parse Java properties as these catalogues use them: `key=value`, `#` comments, `\uXXXX` escapes."""
    properties = {}
    for line in re.split(r"[\r\n]+", re.sub(r"\\\r?\n\s*", "", text)):
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith(("#", "!")):
            properties[key.strip()] = _unescape(value.strip())
    return properties


def _unescape(value: str) -> str:
    """Resolve escapes; characters beyond 16 bits stand there as two, which become one again."""
    value = re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", lambda m: chr(int(m[1], 16)) if m[1] else m[2], value)
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _catalog_text(library: Path) -> str:
    try:
        return (library / CATALOG).read_text("latin-1")
    except FileNotFoundError as error:
        raise AssetFolderError(f"{library} holds no furniture library: {CATALOG} is missing") from error


def _license(line: str) -> str:
    words = " ".join(line.lower().split())
    return next((spdx for known, spdx in LICENSES if known in words), line.strip() or "unknown")


def _inside(library: Path, relative: str) -> Path:
    path = (library / relative.lstrip("/")).resolve()
    if not relative or not path.is_relative_to(library.resolve()):
        raise AssetFolderError(f"the catalogue of {library} names the model {relative!r}, outside its folder")
    return path


def _world_rotation(text: str | None) -> tuple[float, ...] | None:
    """Carry a rotation of the model's axes (x right, y up, z to the viewer) to the world's (+Z up).

    With C the map (x, y, z) -> (x, -z, y), the rotation R becomes C R Cᵀ.
    """
    if text is None:
        return None
    try:
        a, b, c, d, e, f, g, h, i = (float(value) for value in text.split())
    except ValueError as error:
        raise AssetFolderError(f"modelRotation={text} in {CATALOG} is not a 3×3 matrix") from error
    return (a, -c, b, -g, i, -h, d, -f, e)
