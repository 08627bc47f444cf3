"""Real malformed files: each is refused with its reason, and none raises."""

import base64
import json
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
import trimesh

from mvcap.errors import BAD_ASSET, TOO_BIG
from render.asset_checks import Caps, find_problem

MAX_PIXELS = 10_000
GLB = trimesh.creation.box().export(file_type="glb")


def problem_of(path: Path, *, max_bytes: int = 10**6, max_vertices: int = 10**6) -> tuple[str, str] | None:
    found = find_problem(str(path), Caps(max_bytes, max_vertices, MAX_PIXELS))
    return None if found is None else (found.reason, found.message)


def glb_of(content: dict, binary: bytes = b"") -> bytes:
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    if binary:
        chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def triangle(**accessor) -> dict:
    """A glTF with one triangle of 36 bytes; `accessor` overrides what it claims."""
    claims = {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", **accessor}
    return {
        "asset": {"version": "2.0"},
        "buffers": [{"byteLength": 36}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "accessors": [claims],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
    }


@pytest.mark.parametrize("file_type", ["glb", "obj", "stl", "ply"])
def test_a_sound_file_passes(tmp_path, file_type):
    trimesh.creation.box().export(tmp_path / f"box.{file_type}")
    assert problem_of(tmp_path / f"box.{file_type}") is None


def test_a_sound_gltf_with_its_buffer_beside_it_or_inside_it_passes(tmp_path):
    content = triangle()
    content["buffers"][0]["uri"] = "my%20data.bin"
    (tmp_path / "my data.bin").write_bytes(bytes(36))
    (tmp_path / "a.gltf").write_text(json.dumps(content))
    assert problem_of(tmp_path / "a.gltf") is None
    content["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(bytes(36)).decode()
    (tmp_path / "b.gltf").write_text(json.dumps(content))
    assert problem_of(tmp_path / "b.gltf") is None


def test_an_ascii_stl_passes(tmp_path):
    (tmp_path / "a.stl").write_text("solid x\nfacet normal 0 0 1\nouter loop\n")
    assert problem_of(tmp_path / "a.stl") is None


BROKEN = {
    "empty.glb": b"",
    "text.glb": b"this is not a model, it is a sentence",
    "html.glb": b"<!doctype html><title>404 Not Found</title>",
    "header_only.glb": GLB[:12],
    "no_json.glb": GLB[:18],
    "truncated.glb": GLB[: len(GLB) // 2],
    "one_byte_short.glb": GLB[:-1],
    "version_one.glb": GLB[:4] + struct.pack("<I", 1) + GLB[8:],
    "forged_json_length.glb": GLB[:12] + b"\xff\xff\xff\x7f" + GLB[16:],
    "noise_in_json.glb": GLB[:20] + b"\xff" * 40 + GLB[60:],
    "list.glb": glb_of([1, 2]),  # type: ignore[arg-type]
    "wrong_types.glb": glb_of({"accessors": 3, "buffers": "x"}),
    "no_binary_chunk.glb": glb_of(triangle()),
    "forged_count.glb": glb_of(triangle(count=4), bytes(36)),
    "missing_view.glb": glb_of(triangle(bufferView=7), bytes(36)),
    "unknown_component.glb": glb_of(triangle(componentType=1), bytes(36)),
    "nonsense.gltf": b"{",
    "deep.gltf": b"[" * 100_000,
    "no_vertex.obj": b"# nothing\nf 1 2 3\n",
    "no_header.ply": b"solid",
    "endless_header.ply": b"ply\nformat ascii 1.0\nelement vertex 3\n",
    "forged.ply": b"ply\nformat ascii 1.0\nelement vertex 900\nend_header\n0 0 0\n",
    "short.stl": b"\0" * 50,
    "forged.stl": b"\0" * 80 + struct.pack("<I", 900) + bytes(50),
    "no_triangle.stl": b"\0" * 84,
    "ascii.fbx": b"; FBX 7.4.0 project file",
    "text.usda": b"#sdf 1.4.32",
    "noise.usdc": b"PXR-USD\0" + bytes(99),
    "noise.usdz": b"PK\3\4" + bytes(99),
    "forged_faces.ply": b"ply\nformat ascii 1.0\nelement vertex 1\nelement face 900\nend_header\n0 0 0\n",
    "header_only.fbx": b"Kaydara FBX Binary  \x00\x1a\x00",
    "cut.fbx": b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<IIII", 7400, 999, 0, 0),
    "forged.fbx": b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<IIII", 7400, 40, 2**31, 1) + bytes(99),
    "scene.blend": b"BLENDER-v405",
    "no_suffix": b"glTF",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_a_bad_asset(tmp_path, name):
    (tmp_path / name).write_bytes(BROKEN[name])
    reason, message = problem_of(tmp_path / name) or ("", "")
    assert reason == BAD_ASSET
    assert name in message


def test_some_vertices_that_are_no_numbers_spoil_a_glb_and_all_of_them_are_for_blender_to_see(tmp_path):
    some = struct.pack("<9f", 0, 0, 0, 1, float("nan"), 0, 0, 1, 0)
    (tmp_path / "some.glb").write_bytes(glb_of(triangle(), some))
    assert problem_of(tmp_path / "some.glb") == (
        BAD_ASSET,
        "some.glb: 1 of 3 vertices are not finite numbers",
    )
    (tmp_path / "all.glb").write_bytes(glb_of(triangle(), struct.pack("<9f", *[float("inf")] * 9)))
    assert problem_of(tmp_path / "all.glb") is None


def test_a_missing_file_and_a_folder_are_bad_assets(tmp_path):
    (tmp_path / "folder.glb").mkdir()
    assert problem_of(tmp_path / "absent.glb") == (BAD_ASSET, "absent.glb is not a file")
    assert problem_of(tmp_path / "folder.glb") == (BAD_ASSET, "folder.glb is not a file")


def test_caps_on_bytes_and_on_claimed_vertices(tmp_path):
    (tmp_path / "a.glb").write_bytes(GLB)
    assert problem_of(tmp_path / "a.glb", max_bytes=100) == (
        TOO_BIG,
        f"a.glb has {len(GLB)} bytes; max_asset_mb allows 100",
    )
    claims = {
        "b.glb": glb_of(triangle(count=10**9), bytes(36)),
        "sparse.glb": glb_of(triangle(count=10**9, bufferView=None), bytes(36)),
        "c.ply": b"ply\nformat ascii 1.0\nelement vertex 1000000000\nend_header\n",
        "d.stl": b"\0" * 80 + struct.pack("<I", 10**9),
    }
    for name, data in claims.items():
        (tmp_path / name).write_bytes(data)
        assert (problem_of(tmp_path / name) or ("",))[0] == TOO_BIG, name


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.bin",
        "/etc/passwd",
        "file:///etc/passwd",
        "https://example.org/a.bin",
        "a/../../b",
        "%2e%2e/b",
    ],
)
@pytest.mark.parametrize("kind", ["buffers", "images"])
def test_references_outside_the_folder_are_refused(tmp_path, uri, kind):
    (tmp_path / "secret.bin").write_bytes(bytes(36))
    folder = tmp_path / "asset"
    folder.mkdir()
    content = triangle() | {"images": [{"uri": "ok.png"}]}
    content["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(bytes(36)).decode()
    content[kind][0]["uri"] = uri
    (folder / "a.gltf").write_text(json.dumps(content))
    reason, message = problem_of(folder / "a.gltf") or ("", "")
    assert reason == BAD_ASSET
    assert "outside its own folder" in message


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(36))
    folder = tmp_path / "asset"
    folder.mkdir()
    (folder / "data.bin").symlink_to(tmp_path / "secret.bin")
    content = triangle()
    content["buffers"][0]["uri"] = "data.bin"
    (folder / "a.gltf").write_text(json.dumps(content))
    assert "outside its own folder" in (problem_of(folder / "a.gltf") or ("", ""))[1]


@pytest.mark.parametrize("name", ["a.gltf", "a.obj", "library.obj"])
def test_a_link_to_itself_is_a_missing_file(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a.gltf").write_text(json.dumps({"asset": {"version": "2.0"}, "images": [{"uri": "loop"}]}))
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\n")
    (tmp_path / "a.mtl").write_text("newmtl a\nmap_Kd loop\n")
    (tmp_path / "library.obj").write_text("mtllib loop\nv 0 0 0\n")
    assert problem_of(tmp_path / name) is None


@pytest.mark.timeout(10)
def test_blank_lines_cost_no_more_than_others(tmp_path):
    """Read again from each of them, a tenth of these took minutes."""
    blank = "\n" * 400_000
    (tmp_path / "a.mtl").write_text(f"newmtl a{blank}")
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl{blank} v 0 0 0\n")
    (tmp_path / "none.obj").write_text(f"{blank}f 1 2 3\n")
    assert problem_of(tmp_path / "a.obj") is None
    assert "no vertex line" in (problem_of(tmp_path / "none.obj") or ("", ""))[1]


def test_a_stride_that_no_vertex_has_is_a_bad_asset(tmp_path):
    content = triangle()
    content["bufferViews"][0]["byteStride"] = 2
    content["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(bytes(36)).decode()
    (tmp_path / "a.gltf").write_text(json.dumps(content))
    assert (problem_of(tmp_path / "a.gltf") or ("",))[0] == BAD_ASSET


def test_an_encrypted_package_is_a_bad_asset(tmp_path):
    path = usdz_of(tmp_path, a_usda=b"#usda 1.0")
    data = bytearray(path.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    reason, message = problem_of(path) or ("", "")
    assert reason == BAD_ASSET
    assert "encrypted" in message


def png_header(width: int, height: int) -> bytes:
    """The first chunk of a PNG of that many pixels, and nothing of them."""
    data = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + data + struct.pack(">I", zlib.crc32(data))


def with_picture(picture: bytes, where: str, folder: Path) -> Path:
    """Write a triangle whose picture lies in its buffer, in its text, or beside it."""
    content = triangle()
    binary = bytes(36) + picture
    content["buffers"][0]["byteLength"] = len(binary)
    if where == "buffer":
        content["bufferViews"].append({"buffer": 0, "byteOffset": 36, "byteLength": len(picture)})
        content["images"] = [{"bufferView": 1, "mimeType": "image/png"}]
    elif where == "text":
        content["images"] = [{"uri": "data:image/png;base64," + base64.b64encode(picture).decode()}]
    else:
        (folder / "beside.png").write_bytes(picture)
        content["images"] = [{"uri": "beside.png"}]
    (folder / "a.glb").write_bytes(glb_of(content, binary))
    return folder / "a.glb"


@pytest.mark.parametrize("where", ["buffer", "text", "beside"])
def test_a_picture_of_too_many_pixels_is_too_big(tmp_path, where):
    assert problem_of(with_picture(png_header(100, 100), where, tmp_path)) is None
    assert problem_of(with_picture(b"no picture", where, tmp_path)) is None
    reason, message = problem_of(with_picture(png_header(101, 100), where, tmp_path)) or ("", "")
    assert (reason, "101 x 100 pixels; max_texture_mpx allows 10000" in message) == (TOO_BIG, True)
    reason, message = problem_of(with_picture(png_header(2**31 - 1, 2**31 - 1), where, tmp_path)) or ("", "")
    assert reason == TOO_BIG


def test_a_huge_picture_inside_an_fbx_is_found_by_its_signature(tmp_path):
    head = b"Kaydara FBX Binary  \x00\x1a\x00" + struct.pack("<I", 7400) + bytes(99)
    (tmp_path / "a.fbx").write_bytes(head + png_header(100, 100) + b"\xff\xd8\xff chance")
    assert problem_of(tmp_path / "a.fbx") is None
    (tmp_path / "b.fbx").write_bytes(head + png_header(99999, 99999) + bytes(9))
    assert (problem_of(tmp_path / "b.fbx") or ("",))[0] == TOO_BIG


def test_nodes_that_go_round_in_circles_or_have_two_parents_are_refused(tmp_path):
    def nodes(*children: list[int]) -> bytes:
        return glb_of(triangle() | {"nodes": [{"children": below} for below in children]}, bytes(36))

    (tmp_path / "tree.glb").write_bytes(nodes([1, 2], [3], [], []))
    assert problem_of(tmp_path / "tree.glb") is None
    for name, children in {"circle": [[1], [0]], "own": [[], [1]], "shared": [[2], [2], []]}.items():
        (tmp_path / f"{name}.glb").write_bytes(nodes(*children))
        assert (problem_of(tmp_path / f"{name}.glb") or ("",))[0] == BAD_ASSET, name


def test_a_gltf_with_its_buffer_beside_it_is_searched_for_vertices_that_are_no_numbers_too(tmp_path):
    content = triangle()
    content["buffers"][0]["uri"] = "a.bin"
    (tmp_path / "a.bin").write_bytes(struct.pack("<9f", 0, 0, 0, 1, float("nan"), 0, 0, 1, 0))
    (tmp_path / "a.gltf").write_text(json.dumps(content))
    assert "1 of 3 vertices" in (problem_of(tmp_path / "a.gltf") or ("", ""))[1]


def usdz_of(folder: Path, compression: int = zipfile.ZIP_STORED, **entries: bytes) -> Path:
    with zipfile.ZipFile(folder / "a.usdz", "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return folder / "a.usdz"


def test_a_usd_package_is_held_to_its_specification(tmp_path):
    assert problem_of(usdz_of(tmp_path, a_usda=b"#usda 1.0", t__b_png=png_header(9, 9))) is None
    assert problem_of(usdz_of(tmp_path, a_usda=b"#usda 1.0", t__b_png=png_header(999, 999)))[0] == TOO_BIG
    for entries in (
        {"readme_txt": b"#usda 1.0"},
        {"a_usda": b"", "__etc__b_usda": b""},
        {"a_usda": b"", "b_usdz": b""},
        {},
    ):
        assert (problem_of(usdz_of(tmp_path, **entries)) or ("",))[0] == BAD_ASSET, entries
    squeezed = usdz_of(tmp_path, zipfile.ZIP_DEFLATED, a_usda=b"#usda 1.0", b_bin=bytes(10**6))
    assert "is compressed" in (problem_of(squeezed) or ("", ""))[1]


def test_a_missing_buffer_file_is_a_bad_asset(tmp_path):
    content = triangle()
    content["buffers"][0]["uri"] = "absent.bin"
    (tmp_path / "a.gltf").write_text(json.dumps(content))
    assert (problem_of(tmp_path / "a.gltf") or ("",))[0] == BAD_ASSET


def test_a_material_library_outside_the_folder_is_refused(tmp_path):
    (tmp_path / "a.obj").write_text("mtllib ../../x.mtl\nv 0 0 0\n")
    assert "outside its own folder" in (problem_of(tmp_path / "a.obj") or ("", ""))[1]
    (tmp_path / "b.obj").write_text("mtllib b b.mtl\r\nv 0 0 0\n")
    assert problem_of(tmp_path / "b.obj") is None
