"""PLY and STL: what their headers claim, against the bytes that are there."""

import re
import struct
from pathlib import Path
from typing import Final

from mvcap.errors import BAD_ASSET, TOO_BIG
from render.asset_checks.problem import AssetProblem, Caps

STL_HEADER: Final = struct.Struct("<80xI")
STL_TRIANGLE_BYTES: Final = 50
PLY_HEADER_LIMIT_BYTES: Final = 65536
PLY_FACES_PER_VERTEX: Final = 12
"""A closed triangle mesh has about 2; a count that claims more than this many times the cap is forged."""
PLY_VERTEX_BYTES: Final = 3
"""The least a vertex can take: three coordinates of one byte."""
PLY_FACE_BYTES: Final = 1
"""The least a face can take: a list of no vertices."""


def check_ply(path: Path, caps: Caps) -> None:
    with path.open("rb") as file:
        header, end, _ = file.read(PLY_HEADER_LIMIT_BYTES).partition(b"end_header")
    vertices, faces = claimed(header, b"vertex"), claimed(header, b"face")
    if not header.startswith(b"ply") or not end or vertices is None:
        raise AssetProblem(BAD_ASSET, f"{path.name} has no complete PLY header")
    check_claim(path, vertices, "vertices", PLY_VERTEX_BYTES, caps.vertices)
    check_claim(path, faces or 0, "faces", PLY_FACE_BYTES, PLY_FACES_PER_VERTEX * caps.vertices)


def claimed(header: bytes, element: bytes) -> int | None:
    found = re.search(rb"element\s+" + element + rb"\s+(\d{1,18})\s", header)
    return None if found is None else int(found[1])


def check_claim(path: Path, count: int, what: str, bytes_each: int, most: int) -> None:
    if count > most:
        raise AssetProblem(TOO_BIG, f"{path.name} claims {count} {what}; max_vertices allows {most}")
    if count * bytes_each > (size := path.stat().st_size):
        raise AssetProblem(BAD_ASSET, f"{path.name} claims {count} {what} in {size} bytes")


def check_stl(path: Path, caps: Caps) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if head.lstrip().startswith(b"solid") and b"facet" in head:
        return
    if len(head) < STL_HEADER.size:
        raise AssetProblem(BAD_ASSET, f"{path.name} is too short for an STL header")
    (triangles,) = STL_HEADER.unpack_from(head)
    if 3 * triangles > caps.vertices:
        raise AssetProblem(TOO_BIG, f"{path.name} claims {triangles} triangles; max_vertices={caps.vertices}")
    if triangles == 0 or STL_HEADER.size + STL_TRIANGLE_BYTES * triangles > size:
        raise AssetProblem(BAD_ASSET, f"{path.name} claims {triangles} triangles in {size} bytes")
