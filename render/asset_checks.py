"""Cheap checks of a model file before Blender sees it. They never raise for bad input.

Blender's importers trust what they read: a forged count makes them allocate, a URI makes them open any
file of the machine. What is refused here costs milliseconds and names its fault.
"""

import mmap
import re
import struct
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final
from urllib.parse import unquote

import numpy as np
from pygltflib import GLTF2, Accessor

from mvcap.errors import BAD_ASSET, TOO_BIG, MvcapError, Reason

GLB_HEADER: Final = struct.Struct("<4sII")
GLB_CHUNK: Final = struct.Struct("<I4s")
STL_HEADER: Final = struct.Struct("<80xI")
STL_TRIANGLE_BYTES: Final = 50
PLY_HEADER_LIMIT_BYTES: Final = 65536
COMPONENT_BYTES: Final = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
FLOAT: Final = 5126
COMPONENTS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
"""glTF 2.0 specification, section 3.6.2.2."""
INDICES_PER_VERTEX: Final = 12
"""A closed mesh has about 6; an accessor that claims more than this many times the cap is forged."""
MALFORMED: Final = (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, struct.error)
"""What pygltflib raises on JSON that is not a glTF, depending on where it notices."""


class AssetProblem(MvcapError):
    """Why an asset is not worth starting Blender for."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def find_problem(asset: str, *, max_bytes: int, max_vertices: int) -> AssetProblem | None:
    """Return what is wrong with a model file, or None where Blender may try.

    Args:
        asset: path of the file; its suffix decides the format.
        max_bytes: cap on the file's own size.
        max_vertices: cap on what its header claims, for the formats that have one.
    """
    path = Path(asset)
    try:
        check_file(path, max_bytes)
        CHECKS[path.suffix.lower()](path, max_vertices)
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


def check_glb(path: Path, max_vertices: int) -> None:
    with path.open("rb") as file:
        text, binary_bytes = read_glb_chunks(file, path)
        gltf = check_gltf_json(text, path, max_vertices, binary_bytes)
        if binary_bytes:
            check_positions(gltf, file, file.tell(), path)


def read_glb_chunks(file: BinaryIO, path: Path) -> tuple[bytes, int]:
    """Return the JSON of a GLB and the length of its binary chunk; the file must be as long as it says."""
    size = path.stat().st_size
    header = file.read(GLB_HEADER.size)
    if len(header) < GLB_HEADER.size or header[:4] != b"glTF":
        raise AssetProblem(BAD_ASSET, f"{path.name} does not start like a GLB")
    _, version, length = GLB_HEADER.unpack(header)
    if version != 2:
        raise AssetProblem(BAD_ASSET, f"{path.name} is GLB version {version}; only 2 can be imported")
    if length > size:
        raise AssetProblem(BAD_ASSET, f"{path.name} is truncated: {size} of {length} bytes")
    text_length, kind = read_chunk_header(file, path)
    if kind != b"JSON" or file.tell() + text_length > length:
        raise AssetProblem(BAD_ASSET, f"{path.name} has no complete JSON chunk")
    text = file.read(text_length)
    if file.tell() + GLB_CHUNK.size > length:
        return text, 0
    binary_length, _ = read_chunk_header(file, path)
    if file.tell() + binary_length > length:
        raise AssetProblem(BAD_ASSET, f"{path.name} has a truncated binary chunk")
    return text, binary_length


def read_chunk_header(file: BinaryIO, path: Path) -> tuple[int, bytes]:
    header = file.read(GLB_CHUNK.size)
    if len(header) < GLB_CHUNK.size:
        raise AssetProblem(BAD_ASSET, f"{path.name} ends within a chunk's header")
    length, kind = GLB_CHUNK.unpack(header)
    return length, kind


def check_gltf(path: Path, max_vertices: int) -> None:
    check_gltf_json(path.read_bytes(), path, max_vertices, 0)


def check_gltf_json(text: bytes, path: Path, max_vertices: int, binary_bytes: int) -> GLTF2:
    try:
        gltf = GLTF2.gltf_from_json(text.decode("utf-8-sig"))
        check_uris(gltf, path)
        check_buffers(gltf, path, binary_bytes)
        check_accessors(gltf, path, max_vertices)
        return gltf
    except MALFORMED as error:
        message = f"{path.name} is not a valid glTF: {type(error).__name__}: {error}"
        raise AssetProblem(BAD_ASSET, message) from error


def check_uris(gltf: GLTF2, path: Path) -> None:
    """Refuse every reference that is not data or a file in the asset's own folder."""
    for uri in [item.uri for item in (*gltf.buffers, *gltf.images) if item.uri]:
        if not uri.startswith("data:") and not stays_inside(path.parent, unquote(uri)):
            raise AssetProblem(BAD_ASSET, f"{path.name} refers to {uri[:200]!r}, outside its own folder")


def stays_inside(folder: Path, reference: str) -> bool:
    """Tell whether a relative reference leads to a place in `folder`, symbolic links included."""
    if "\0" in reference or ":" in reference or PurePosixPath(reference).is_absolute():
        return False
    target = folder / reference.replace("\\", "/")
    return target.resolve().is_relative_to(folder.resolve())


def check_buffers(gltf: GLTF2, path: Path, binary_bytes: int) -> None:
    """Compare what buffers and their views claim to hold with the bytes that are there."""
    for buffer in gltf.buffers:
        if buffer.uri is None:
            present = binary_bytes
        elif buffer.uri.startswith("data:"):
            present = len(buffer.uri) * 3 // 4
        else:
            present = (path.parent / unquote(buffer.uri)).stat().st_size
        if buffer.byteLength > present:
            message = f"{path.name} is truncated: a buffer of {buffer.byteLength} bytes has {present}"
            raise AssetProblem(BAD_ASSET, message)
    for view in gltf.bufferViews:
        if (view.byteOffset or 0) + view.byteLength > gltf.buffers[view.buffer].byteLength:
            raise AssetProblem(BAD_ASSET, f"{path.name} has a buffer view that leaves its buffer")


def check_accessors(gltf: GLTF2, path: Path, max_vertices: int) -> None:
    vertices = sum(gltf.accessors[index].count for index in position_accessors(gltf))
    longest = max((accessor.count for accessor in gltf.accessors), default=0)
    if vertices > max_vertices or longest > INDICES_PER_VERTEX * max_vertices:
        message = f"{path.name} claims {max(vertices, longest)} elements; max_vertices={max_vertices}"
        raise AssetProblem(TOO_BIG, message)
    for index, accessor in enumerate(gltf.accessors):
        if accessor.bufferView is not None:
            view = gltf.bufferViews[accessor.bufferView]
            if (accessor.byteOffset or 0) + accessor_bytes(accessor, view.byteStride) > view.byteLength:
                raise AssetProblem(
                    BAD_ASSET, f"{path.name}: accessor {index} claims more than its buffer view holds"
                )


def check_positions(gltf: GLTF2, file: BinaryIO, binary_start: int, path: Path) -> None:
    """Refuse a GLB with some vertices that are no numbers; one with none else is for Blender to see.

    Blender's importer moves them to zero, where they would stretch the object, before anybody can look.
    """
    bad = total = 0
    for index in position_accessors(gltf):
        accessor = gltf.accessors[index]
        if accessor.bufferView is not None and accessor.componentType == FLOAT:
            view = gltf.bufferViews[accessor.bufferView]
            file.seek(binary_start + (view.byteOffset or 0) + (accessor.byteOffset or 0))
            content = file.read(accessor_bytes(accessor, view.byteStride))
            columns = (view.byteStride or 12) // 4
            flat = np.frombuffer(content, "<f4")
            flat = np.append(flat, np.zeros(-len(flat) % columns, "<f4"))
            bad += int((~np.isfinite(flat.reshape(-1, columns)[:, :3]).all(axis=1)).sum())
            total += accessor.count
    if 0 < bad < total:
        raise AssetProblem(BAD_ASSET, f"{path.name}: {bad} of {total} vertices are not finite numbers")


def position_accessors(gltf: GLTF2) -> set[int]:
    primitives = [primitive for mesh in gltf.meshes for primitive in mesh.primitives]
    return {p.attributes.POSITION for p in primitives if p.attributes.POSITION is not None}


def accessor_bytes(accessor: Accessor, stride: int | None) -> int:
    """Return how many bytes an accessor spans; a lower bound for small matrices, which are padded."""
    element = COMPONENT_BYTES[accessor.componentType] * COMPONENTS[accessor.type]
    return int((accessor.count - 1) * (stride or element) + element) if accessor.count else 0


def check_obj(path: Path, max_vertices: int) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if not re.search(rb"^\s*v[ \t]", content, re.MULTILINE):
            raise AssetProblem(BAD_ASSET, f"{path.name} has no vertex line")
        libraries = re.findall(rb"^\s*mtllib[ \t]+([^\r\n]+)", content, re.MULTILINE)
    for library in libraries:
        if not stays_inside(path.parent, library.decode("utf-8", "replace").strip()):
            raise AssetProblem(BAD_ASSET, f"{path.name} refers to {library[:200]!r}, outside its own folder")


def check_ply(path: Path, max_vertices: int) -> None:
    with path.open("rb") as file:
        header, end, _ = file.read(PLY_HEADER_LIMIT_BYTES).partition(b"end_header")
    claimed = re.search(rb"element\s+vertex\s+(\d{1,18})\s", header)
    if not header.startswith(b"ply") or not end or claimed is None:
        raise AssetProblem(BAD_ASSET, f"{path.name} has no complete PLY header")
    check_claim(path, int(claimed[1]), 3, max_vertices)


def check_stl(path: Path, max_vertices: int) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
    if head.lstrip().startswith(b"solid") and b"facet" in head:
        return
    if len(head) < STL_HEADER.size:
        raise AssetProblem(BAD_ASSET, f"{path.name} is too short for an STL header")
    (triangles,) = STL_HEADER.unpack_from(head)
    if 3 * triangles > max_vertices:
        raise AssetProblem(TOO_BIG, f"{path.name} claims {triangles} triangles; max_vertices={max_vertices}")
    if triangles == 0 or STL_HEADER.size + STL_TRIANGLE_BYTES * triangles > size:
        raise AssetProblem(BAD_ASSET, f"{path.name} claims {triangles} triangles in {size} bytes")


def check_claim(path: Path, vertices: int, bytes_each: int, max_vertices: int) -> None:
    if vertices > max_vertices:
        raise AssetProblem(TOO_BIG, f"{path.name} claims {vertices} vertices; max_vertices={max_vertices}")
    if vertices * bytes_each > (size := path.stat().st_size):
        raise AssetProblem(BAD_ASSET, f"{path.name} claims {vertices} vertices in {size} bytes")


def check_fbx(path: Path, max_vertices: int) -> None:
    with path.open("rb") as file:
        if not file.read(18) == b"Kaydara FBX Binary":
            raise AssetProblem(BAD_ASSET, f"{path.name} is not a binary FBX, the only kind Blender imports")


CHECKS: Final[dict[str, Callable[[Path, int], None]]] = {
    ".glb": check_glb,
    ".gltf": check_gltf,
    ".obj": check_obj,
    ".fbx": check_fbx,
    ".stl": check_stl,
    ".ply": check_ply,
}
