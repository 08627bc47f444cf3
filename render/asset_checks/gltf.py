"""glTF and GLB: chunks, references, and what buffers, accessors and pictures claim."""

import base64
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote

import numpy as np
from pygltflib import GLTF2, Accessor, Buffer, BufferView

from mvcap.errors import BAD_ASSET, TOO_BIG
from render.asset_checks.pictures import HEADER_BYTES, check_picture, check_picture_file
from render.asset_checks.problem import AssetProblem, Caps, stays_inside

GLB_HEADER: Final = struct.Struct("<4sII")
GLB_CHUNK: Final = struct.Struct("<I4s")
COMPONENT_BYTES: Final = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
FLOAT: Final = 5126
COMPONENTS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
"""glTF 2.0 specification, section 3.6.2.2."""
INDICES_PER_VERTEX: Final = 12
"""A closed mesh has about 6; an accessor that claims more than this many times the cap is forged."""
MALFORMED: Final = (
    *(ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, ArithmeticError),
    struct.error,
)
"""What pygltflib and numbers that no glTF has, such as a stride of 2, raise, depending on where it shows."""


def check_glb(path: Path, caps: Caps) -> None:
    with path.open("rb") as file:
        text, binary_bytes = read_glb_chunks(file, path)
        start = file.tell()
    check_content(text, Buffers(path, start, binary_bytes), caps)


def check_gltf(path: Path, caps: Caps) -> None:
    check_content(path.read_bytes(), Buffers(path, 0, 0), caps)


@dataclass(frozen=True, slots=True)
class Buffers:
    """Where the bytes of a glTF's buffers are: in the file itself, in its text, or beside it."""

    path: Path
    binary_start: int
    binary_bytes: int
    """Of a GLB's binary chunk; 0 where there is none."""

    def size_of(self, buffer: Buffer) -> int:
        """Return how many bytes a buffer can have; an OSError names a missing file."""
        if buffer.uri is None:
            return self.binary_bytes
        if buffer.uri.startswith("data:"):
            return len(buffer.uri) * 3 // 4
        return (self.path.parent / unquote(buffer.uri)).stat().st_size

    def read(self, gltf: GLTF2, view: BufferView, offset: int, length: int) -> bytes:
        """Return bytes of a buffer view, from an offset within it."""
        buffer, first = gltf.buffers[view.buffer], (view.byteOffset or 0) + offset
        if buffer.uri is not None and buffer.uri.startswith("data:"):
            return decode_data(buffer.uri)[first : first + length]
        if buffer.uri is None:
            place, first = self.path, self.binary_start + first
        else:
            place = self.path.parent / unquote(buffer.uri)
        with place.open("rb") as file:
            file.seek(first)
            return file.read(length)


def decode_data(uri: str) -> bytes:
    """Decode a data URI; a ValueError says that it is none."""
    return base64.b64decode(uri.partition(",")[2])


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


def check_content(text: bytes, buffers: Buffers, caps: Caps) -> None:
    path = buffers.path
    try:
        gltf = GLTF2.gltf_from_json(text.decode("utf-8-sig"))
        check_uris(gltf, path)
        check_buffers(gltf, buffers)
        check_accessors(gltf, path, caps)
        check_nodes(gltf, path)
        check_images(gltf, buffers, caps)
        check_positions(gltf, buffers)
    except MALFORMED as error:
        message = f"{path.name} is not a valid glTF: {type(error).__name__}: {error}"
        raise AssetProblem(BAD_ASSET, message) from error


def check_uris(gltf: GLTF2, path: Path) -> None:
    """Refuse every reference that is not data or a file in the asset's own folder."""
    for uri in [item.uri for item in (*gltf.buffers, *gltf.images) if item.uri]:
        if not uri.startswith("data:") and not stays_inside(path.parent, unquote(uri)):
            raise AssetProblem(BAD_ASSET, f"{path.name} refers to {uri[:200]!r}, outside its own folder")


def check_buffers(gltf: GLTF2, buffers: Buffers) -> None:
    """Compare what buffers and their views claim to hold with the bytes that are there."""
    path = buffers.path
    for buffer in gltf.buffers:
        if buffer.byteLength > (present := buffers.size_of(buffer)):
            message = f"{path.name} is truncated: a buffer of {buffer.byteLength} bytes has {present}"
            raise AssetProblem(BAD_ASSET, message)
    for view in gltf.bufferViews:
        if (view.byteOffset or 0) + view.byteLength > gltf.buffers[view.buffer].byteLength:
            raise AssetProblem(BAD_ASSET, f"{path.name} has a buffer view that leaves its buffer")


def check_accessors(gltf: GLTF2, path: Path, caps: Caps) -> None:
    vertices = sum(gltf.accessors[index].count for index in position_accessors(gltf))
    longest = max((accessor.count for accessor in gltf.accessors), default=0)
    if vertices > caps.vertices or longest > INDICES_PER_VERTEX * caps.vertices:
        message = f"{path.name} claims {max(vertices, longest)} elements; max_vertices={caps.vertices}"
        raise AssetProblem(TOO_BIG, message)
    for index, accessor in enumerate(gltf.accessors):
        if accessor.bufferView is not None:
            view = gltf.bufferViews[accessor.bufferView]
            if (accessor.byteOffset or 0) + accessor_bytes(accessor, view.byteStride) > view.byteLength:
                raise AssetProblem(
                    BAD_ASSET, f"{path.name}: accessor {index} claims more than its buffer view holds"
                )


def check_nodes(gltf: GLTF2, path: Path) -> None:
    """Refuse nodes that are their own ancestors, which would never end, or that have two parents."""
    parents = [child for node in gltf.nodes for child in node.children or ()]
    if len(parents) > len(set(parents)):
        raise AssetProblem(BAD_ASSET, f"{path.name} has a node with two parents")
    below = {index: list(node.children or ()) for index, node in enumerate(gltf.nodes)}
    reached, waiting = 0, list(below.keys() - set(parents))
    while waiting:
        reached += 1
        waiting += below[waiting.pop()]
    if reached < len(gltf.nodes):
        raise AssetProblem(BAD_ASSET, f"{path.name} has a node that is its own ancestor")


def check_images(gltf: GLTF2, buffers: Buffers, caps: Caps) -> None:
    for image in gltf.images:
        if image.bufferView is not None:
            view = gltf.bufferViews[image.bufferView]
            head = buffers.read(gltf, view, 0, min(view.byteLength, HEADER_BYTES))
            check_picture(head, f"a picture in {buffers.path.name}", caps)
        elif image.uri and image.uri.startswith("data:"):
            check_picture(decode_data(image.uri), f"a picture in {buffers.path.name}", caps)
        elif image.uri and (picture := buffers.path.parent / unquote(image.uri)).is_file():
            check_picture_file(picture, caps)


def check_positions(gltf: GLTF2, buffers: Buffers) -> None:
    """Refuse a glTF with some vertices that are no numbers; one with none else is for Blender to see.

    Blender's importer moves them to zero, where they would stretch the object, before anybody can look.
    """
    bad = total = 0
    for index in position_accessors(gltf):
        accessor = gltf.accessors[index]
        if accessor.bufferView is not None and accessor.componentType == FLOAT:
            view = gltf.bufferViews[accessor.bufferView]
            content = buffers.read(
                gltf, view, accessor.byteOffset or 0, accessor_bytes(accessor, view.byteStride)
            )
            columns = (view.byteStride or 12) // 4
            flat = np.frombuffer(content, "<f4")
            flat = np.append(flat, np.zeros(-len(flat) % columns, "<f4"))
            bad += int((~np.isfinite(flat.reshape(-1, columns)[:, :3]).all(axis=1)).sum())
            total += accessor.count
    if 0 < bad < total:
        name = buffers.path.name
        raise AssetProblem(BAD_ASSET, f"{name}: {bad} of {total} vertices are not finite numbers")


def position_accessors(gltf: GLTF2) -> set[int]:
    primitives = [primitive for mesh in gltf.meshes for primitive in mesh.primitives]
    return {p.attributes.POSITION for p in primitives if p.attributes.POSITION is not None}


def accessor_bytes(accessor: Accessor, stride: int | None) -> int:
    """Return how many bytes an accessor spans; a lower bound for small matrices, which are padded."""
    element = COMPONENT_BYTES[accessor.componentType] * COMPONENTS[accessor.type]
    return int((accessor.count - 1) * (stride or element) + element) if accessor.count else 0
