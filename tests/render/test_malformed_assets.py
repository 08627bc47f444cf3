"""Files that are wrong in every way we know, through the real renderer: one answer each.

After each of them the next object is rendered as if nothing had been.
"""

import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from mvcap.errors import BAD_ASSET, CRASH, EMPTY_RENDER, TOO_BIG
from mvcap.records import ObjectRecord, Rejected, SelectedObject, View
from render.backends.blender import Options, create
from render.stage import render_objects

pytestmark = [pytest.mark.blender, pytest.mark.timeout(120)]

GLB: bytes = trimesh.creation.box().export(file_type="glb")
STL: bytes = trimesh.creation.box().export(file_type="stl")
OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
PLY = "ply\nformat ascii 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n"
PLY_FACES = "element face {}\nproperty list uchar int vertex_indices\nend_header\n"
CUBE_USDA = """#usda 1.0
def Mesh "m"
{{
    int[] faceVertexCounts = {counts}
    int[] faceVertexIndices = {indices}
    point3f[] points = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
}}
"""
TETRAHEDRON = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], "<f4")
FACES = np.array([0, 2, 1, 0, 1, 3, 1, 2, 3, 0, 3, 2], "<u4")
NOISE = np.random.default_rng(0).bytes(5000)


def glb_of(content: Any, binary: bytes = b"") -> bytes:
    text = json.dumps(content).encode() if not isinstance(content, bytes) else content
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if binary:
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def gltf(vertices: np.ndarray = TETRAHEDRON, faces: np.ndarray = FACES, **changes: Any) -> dict[str, Any]:
    """Describe a mesh whose buffer is the vertices, then the indices; `changes` replace whole parts."""
    size = vertices.nbytes + faces.nbytes
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": size}],
        "bufferViews": [
            {"buffer": 0, "byteLength": vertices.nbytes},
            {"buffer": 0, "byteOffset": vertices.nbytes, "byteLength": faces.nbytes},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(vertices), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
        ],
        **changes,
    }


def glb(vertices: np.ndarray = TETRAHEDRON, faces: np.ndarray = FACES, **changes: Any) -> bytes:
    vertices, faces = vertices.astype("<f4"), faces.astype("<u4")
    return glb_of(gltf(vertices, faces, **changes), vertices.tobytes() + faces.tobytes())


def with_vertex(row: list[float]) -> np.ndarray:
    """Return a tetrahedron with one more vertex, which one more face uses."""
    return np.concatenate([TETRAHEDRON, [row]])


MORE_FACES = np.concatenate([FACES, np.array([0, 1, 4], "<u4")])


def chain_of(length: int) -> bytes:
    """Nest the mesh below so many nodes."""
    nodes: list[dict[str, Any]] = [{"children": [index + 1]} for index in range(length)]
    return glb(nodes=[*nodes, {"mesh": 0}])


def png(width: int, height: int) -> bytes:
    """Compress that many black pixels, one bit each."""
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def textured(picture: bytes, **changes: Any) -> bytes:
    """Give the mesh a material with an embedded picture."""
    binary = TETRAHEDRON.tobytes() + FACES.tobytes()
    content = gltf(
        materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        textures=[{"source": 0}],
        images=[{"bufferView": 2, "mimeType": "image/png"}],
        meshes=[{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
    )
    content["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(picture)})
    content["buffers"][0]["byteLength"] = len(binary) + len(picture)
    return glb_of(content | changes, binary + picture)


def usdz(compression: int, **entries: bytes) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("_", "."), data)
    return file.getvalue()


def accessor_claims(index: int, **claims: Any) -> bytes:
    content = gltf()
    content["accessors"][index] |= claims
    return glb_of(content, TETRAHEDRON.tobytes() + FACES.tobytes())


def first_buffer(**claims: Any) -> bytes:
    return json.dumps(gltf(buffers=[{"byteLength": 96, **claims}])).encode()


CUBE_USD = CUBE_USDA.format(counts="[3, 3, 3, 3]", indices="[0,2,1, 0,1,3, 1,2,3, 0,3,2]").encode()
LIGHTS = {
    "extensionsUsed": ["KHR_lights_punctual"],
    "extensions": {"KHR_lights_punctual": {"lights": [{"type": "point"}]}},
    "cameras": [{"type": "perspective", "perspective": {"yfov": 0.5, "znear": 0.1}}],
    "nodes": [{"extensions": {"KHR_lights_punctual": {"light": 0}}}, {"camera": 0}],
    "scenes": [{"nodes": [0, 1]}],
}
DATA = "data:application/octet-stream;base64,"
Expected = str | None
"""A reason, or None for good views."""

MALFORMED: dict[str, tuple[bytes, tuple[Expected, ...]]] = {
    # GLB: the container
    "empty.glb": (b"", (BAD_ASSET,)),
    "magic.glb": (b"FTlg" + GLB[4:], (BAD_ASSET,)),
    "header_only.glb": (GLB[:12], (BAD_ASSET,)),
    "cut_in_json.glb": (GLB[:100], (BAD_ASSET,)),
    "cut_in_half.glb": (GLB[: len(GLB) // 2], (BAD_ASSET,)),
    "cut_at_the_end.glb": (GLB[:-4], (BAD_ASSET,)),
    "length_too_long.glb": (GLB[:8] + struct.pack("<I", 2**32 - 1) + GLB[12:], (BAD_ASSET,)),
    "json_too_long.glb": (GLB[:12] + struct.pack("<I", 2**31) + GLB[16:], (BAD_ASSET,)),
    "json_of_noise.glb": (glb_of(NOISE, bytes(96)), (BAD_ASSET,)),
    "json_of_brackets.glb": (glb_of(b"[" * 100_000), (BAD_ASSET,)),
    "noise_for_vertices.glb": (GLB[:-200] + NOISE[:200], (BAD_ASSET, EMPTY_RENDER, None)),
    # glTF: claims
    "count_of_billions.glb": (accessor_claims(0, count=2**31), (TOO_BIG,)),
    "count_below_zero.glb": (accessor_claims(0, count=-4), (BAD_ASSET, EMPTY_RENDER)),
    "count_beyond_the_view.glb": (accessor_claims(1, count=500), (BAD_ASSET,)),
    "component_unknown.glb": (accessor_claims(0, componentType=77), (BAD_ASSET,)),
    "type_unknown.glb": (accessor_claims(0, type="VEC9"), (BAD_ASSET,)),
    "view_unknown.glb": (accessor_claims(0, bufferView=9), (BAD_ASSET,)),
    "indices_out_of_range.glb": (glb(faces=FACES + 3_000_000_000), (BAD_ASSET, EMPTY_RENDER)),
    "some_index_out_of_range.glb": (glb(faces=np.append(FACES, [0, 1, 99])), (BAD_ASSET, None)),
    "sparse_of_billions.glb": (
        accessor_claims(0, sparse={"count": 2**31, "indices": {"bufferView": 1, "componentType": 5125}}),
        (BAD_ASSET,),
    ),
    # glTF: the graph
    "own_parent.glb": (glb(nodes=[{"mesh": 0, "children": [0]}]), (BAD_ASSET,)),
    "circle.glb": (glb(nodes=[{"mesh": 0, "children": [1]}, {"children": [0]}]), (BAD_ASSET,)),
    "two_parents.glb": (glb(nodes=[{"children": [2]}, {"children": [2]}, {"mesh": 0}]), (BAD_ASSET,)),
    "child_unknown.glb": (glb(nodes=[{"mesh": 0, "children": [55]}]), (BAD_ASSET,)),
    "deep.glb": (chain_of(5000), (BAD_ASSET, None)),
    "scale_of_zero.glb": (glb(nodes=[{"mesh": 0, "scale": [0, 0, 0]}]), (EMPTY_RENDER,)),
    "matrix_not_finite.glb": (
        glb(nodes=[{"mesh": 0, "matrix": [float("nan")] * 16}]),
        (BAD_ASSET, EMPTY_RENDER),
    ),
    # glTF: references
    "buffer_missing.gltf": (first_buffer(uri="absent.bin"), (BAD_ASSET,)),
    "buffer_outside.gltf": (first_buffer(uri="../../outside.bin"), (BAD_ASSET,)),
    "buffer_of_no_base64.gltf": (first_buffer(uri=DATA + "*" * 200), (BAD_ASSET,)),
    "extension_unknown.glb": (glb(extensionsUsed=["X_y"], extensionsRequired=["X_y"]), (BAD_ASSET,)),
    # vertices
    "some_nan.glb": (glb(with_vertex([np.nan] * 3), MORE_FACES), (BAD_ASSET,)),
    "all_infinite.glb": (glb(np.full((4, 3), np.inf)), (EMPTY_RENDER, BAD_ASSET)),
    "one_at_1e30.glb": (glb(with_vertex([1e30, 0, 0]), MORE_FACES), (None,)),
    "all_at_1e30.glb": (glb(TETRAHEDRON * 1e30), (BAD_ASSET,)),
    "all_at_one_point.glb": (glb(TETRAHEDRON * 0), (EMPTY_RENDER,)),
    "one_line.glb": (glb(TETRAHEDRON * [1, 0, 0]), (EMPTY_RENDER,)),
    "no_mesh.glb": (glb(meshes=[], nodes=[{}]), (EMPTY_RENDER,)),
    "lamps_and_cameras.glb": (glb(**LIGHTS), (EMPTY_RENDER,)),
    # textures
    "texture_of_noise.glb": (textured(NOISE), (None,)),
    "texture_bomb.glb": (textured(png(60_000, 60_000)), (TOO_BIG,)),
    "texture_outside.glb": (textured(b"", images=[{"uri": "../secret.png"}]), (BAD_ASSET,)),
    "texture_missing.glb": (textured(b"", images=[{"uri": "absent.png"}]), (None,)),
    # OBJ
    "empty.obj": (b"", (BAD_ASSET,)),
    "noise.obj": (NOISE, (BAD_ASSET, EMPTY_RENDER)),
    "comment.obj": (b"# nothing\n", (BAD_ASSET,)),
    "faces_out_of_range.obj": ((OBJ + "f 1 2 900\nf -9 -8 -7\n").encode(), (BAD_ASSET, None)),
    "not_numbers.obj": (b"v a b c\nv nan inf 1e999\nv 0 0\nf 1 2 3\n", (BAD_ASSET, EMPTY_RENDER)),
    "library_outside.obj": (b"mtllib ../../x.mtl\n" + OBJ.encode(), (BAD_ASSET,)),
    "long_line.obj": (OBJ.encode() + b"f" + b" 1" * 200_000 + b"\n", (BAD_ASSET, None)),
    # STL
    "noise.stl": (NOISE, (BAD_ASSET, TOO_BIG)),
    "forged.stl": (STL[:80] + struct.pack("<I", 2**31) + STL[84:], (TOO_BIG,)),
    "cut.stl": (STL[:-60], (BAD_ASSET,)),
    "text_without_end.stl": (
        b"solid x\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n",
        (BAD_ASSET, EMPTY_RENDER),
    ),
    # PLY
    "noise.ply": (NOISE, (BAD_ASSET,)),
    "too_many.ply": ((PLY + PLY_FACES).format(2**31, 1).encode() + b"0 0 0\n", (TOO_BIG,)),
    "fewer_than_claimed.ply": (
        (PLY + PLY_FACES).format(9, 1).encode() + b"0 0 0\n" * 9,
        (BAD_ASSET, EMPTY_RENDER),
    ),
    "face_out_of_range.ply": (
        (PLY + PLY_FACES).format(3, 1).encode() + b"0 0 0\n1 0 0\n0 1 0\n3 0 1 777777\n",
        (BAD_ASSET, EMPTY_RENDER),
    ),
    # FBX
    "noise.fbx": (NOISE, (BAD_ASSET,)),
    "noise_below.fbx": (b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<I", 7400) + NOISE, (BAD_ASSET,)),
    "nothing_below.fbx": (b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<I", 7400), (BAD_ASSET,)),
    # USD
    "noise.usd": (NOISE, (BAD_ASSET,)),
    "noise_below.usdc": (b"PXR-USDC" + NOISE, (BAD_ASSET,)),
    "cut.usda": (CUBE_USD[:120], (BAD_ASSET,)),
    "index_out_of_range.usda": (
        CUBE_USDA.format(counts="[3, 3]", indices="[0, 1, 2, 0, 1, 900000]").encode(),
        (BAD_ASSET, EMPTY_RENDER, None),
    ),
    "counts_do_not_add_up.usda": (
        CUBE_USDA.format(counts="[3, 90000]", indices="[0, 1, 2]").encode(),
        (CRASH, BAD_ASSET, EMPTY_RENDER),  # Blender 4.5 aborts
    ),
    "index_below_zero.usda": (
        CUBE_USDA.format(counts="[3]", indices="[0, 1, -5]").encode(),
        (BAD_ASSET, EMPTY_RENDER, None),
    ),
    "circle.usda": (b'#usda 1.0\ndef "a" (references = @circle.usda@</a>) {}\n', (BAD_ASSET, EMPTY_RENDER)),
    "outside.usda": (b"#usda 1.0\n(subLayers = [@../outside.usda@])\n", (BAD_ASSET,)),
    "bomb.usdz": (usdz(zipfile.ZIP_DEFLATED, a_usda=CUBE_USD, b_png=bytes(10**7)), (BAD_ASSET,)),
    "texture_bomb.usdz": (usdz(zipfile.ZIP_STORED, a_usda=CUBE_USD, b_png=png(60_000, 60_000)), (TOO_BIG,)),
    "no_layer.usdz": (usdz(zipfile.ZIP_STORED, a_txt=b"hello"), (BAD_ASSET,)),
}

SETTINGS = {
    "seed": 0,
    "views": 2,
    "resolution": 48,
    "preset": "physical",
    "samples": 1,
    "light": "studio",
    "view_transform": "Standard",
    "device": "auto",
    "background": "#ffffff",
    "backgrounds": None,
    "lens_mm": 35.0,
    "sensor_mm": 32.0,
    "law": "hemisphere",
    "elevation_deg": 30.0,
    "distance": 1.5,
    "distance_jitter": 0.0,
    "fov_jitter": 0.0,
    "margin": 0.04,
    "image_format": "png",
    "quality": 95,
    "keep_alpha": False,
    "max_bad_views": 0.5,
}


@pytest.fixture(scope="module")
def renderer():
    options = Options(bind_cores=False, step_timeout_s=30.0, max_memory_gb=2.0)
    with create(options, interpreter=None) as renderer:
        yield renderer


def rendered(renderer, path: Path) -> list[View | Rejected]:
    record = ObjectRecord(path.name, "folder", path.name, path.stem, str(path), None, None, None)
    return list(render_objects([SelectedObject(record, "thing")], renderer, **SETTINGS))


@pytest.fixture(scope="module")
def sound(renderer, tmp_path_factory) -> tuple[Path, list[View | Rejected]]:
    """A good object, and its views before anything went wrong."""
    path = tmp_path_factory.mktemp("sound") / "sound.glb"
    path.write_bytes(GLB)
    views = rendered(renderer, path)
    assert [type(view) for view in views] == [View, View]
    return path, views


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_has_one_answer_and_spoils_no_other(renderer, sound, tmp_path, name):
    content, expected = MALFORMED[name]
    folder = tmp_path / "asset"
    folder.mkdir()
    (folder / name).write_bytes(content)
    records = rendered(renderer, folder / name)
    if isinstance(records[0], Rejected):
        assert len(records) == 1
        assert records[0].reason in expected
        assert records[0].message
    else:
        assert None in expected
        assert [type(record) for record in records] == [View, View]
    path, before = sound
    assert [view.image for view in rendered(renderer, path)] == [view.image for view in before]
