"""Real Blender: what the cameras say, the pictures show."""

import json
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pygltflib
import pytest
import trimesh
from PIL import Image

from mvcap.errors import BAD_ASSET, CRASH, EMPTY_RENDER, OOM, TIMEOUT, RendererUnavailableError
from mvcap.records import AssetFacts
from render.backends import blender
from render.backends.blender import Options, create, photograph
from render.cameras import Viewpoint, project
from render.encoding import composite
from render.job import RenderFailed, RenderJob, SceneSettings
from render.lights import LightRig, Sun
from render.presets import PRESETS, Effort
from render.similarity import structural_similarity
from render.stage import make_scene

pytestmark = [pytest.mark.blender, pytest.mark.timeout(120)]

MARKER_COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
BALL_RADIUS = 0.2 / 8.4
VIEWPOINTS = tuple(Viewpoint(*angles) for angles in [(10, 1), (100, 25), (200, 50), (300, 75), (45, 89.5)])


@pytest.fixture(scope="module")
def scene() -> SceneSettings:
    return make_scene(
        resolution=128,
        lens_mm=35.0,
        sensor_mm=32.0,
        light="studio",
        preset="physical",
        samples=4,
        view_transform="Standard",
    )


@pytest.fixture(scope="module")
def renderer():
    with create(Options(bind_cores=False), interpreter=None) as renderer:
        yield renderer


@pytest.fixture
def make_job(scene):
    def make(asset: Path, viewpoints=VIEWPOINTS[:1], rotation=None, **changes) -> RenderJob:
        job = RenderJob(asset.stem, str(asset), rotation, viewpoints, 1.5, 0.04, scene)
        return replace(job, **changes)

    return make


def failure_of(renderer, job: RenderJob) -> RenderFailed:
    with pytest.raises(RenderFailed) as failure:
        renderer.render(job)
    return failure.value


def coloured(mesh: trimesh.Trimesh, colour: tuple[float, float, float]) -> trimesh.Trimesh:
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=(*colour, 1.0), metallicFactor=0.0)
    mesh.visual = trimesh.visual.TextureVisuals(material=material)
    return mesh


def write_markers(path: Path) -> dict[str, np.ndarray]:
    """Write small balls far apart in a glTF (+Y up); return their centres once normalised, +Z up."""
    centres = {"red": (4, 0, 0), "green": (0, 4, 0), "blue": (0, 0, 4), "yellow": (-4, -4, -4)}
    scene = trimesh.Scene()
    for name, centre in centres.items():
        ball = trimesh.creation.icosphere(radius=0.2, subdivisions=2)
        scene.add_geometry(coloured(ball.apply_translation(centre), MARKER_COLOURS[name]), geom_name=name)
    path.write_bytes(scene.export(file_type="glb"))
    return {name: np.array([x, -z, y]) / 8.4 for name, (x, y, z) in centres.items()}  # extent 4.2 to -4.2


def is_colour(rgba: np.ndarray, name: str) -> np.ndarray:
    """Tell which pixels have the hue of a marker: its channels bright, the others dark."""
    wanted = np.array(MARKER_COLOURS[name], dtype=bool)
    rgb = rgba[..., :3].astype(int)
    return (rgba[..., 3] > 128) & (rgb[..., wanted].min(-1) > 2 * rgb[..., ~wanted].max(-1) + 20)


def centroid(rgba: np.ndarray, name: str) -> np.ndarray:
    y, x = np.nonzero(is_colour(rgba, name))
    return np.array([x.mean(), y.mean()]) + 0.5


def test_a_known_point_is_projected_onto_the_pixel_where_blender_drew_it(renderer, make_job, scene, tmp_path):
    centres = write_markers(tmp_path / "markers.glb")
    wide = tuple(replace(viewpoint, fov_factor=1.3) for viewpoint in VIEWPOINTS[:2])
    job = make_job(tmp_path / "markers.glb", (*VIEWPOINTS, *wide), scene=replace(scene, resolution=224))
    seen = 0
    for picture in renderer.render(job):
        for name, centre in centres.items():
            radius_px = picture.camera.fx * BALL_RADIUS / picture.camera.distance
            if is_colour(picture.rgba, name).sum() >= 0.6 * np.pi * radius_px**2:  # not behind another one
                [expected] = project(centre[None], picture.camera)
                assert centroid(picture.rgba, name) == pytest.approx(expected, abs=1.0)
                seen += 1
    assert seen >= 4 * len(job.viewpoints) - 4


def write_arrow(path: Path, up_axis: int) -> None:
    """Write a red head above a blue shaft along an axis of the file."""
    shaft = coloured(trimesh.creation.cylinder(radius=0.2, height=2.0), MARKER_COLOURS["blue"])
    head = coloured(trimesh.creation.icosphere(radius=0.5), MARKER_COLOURS["red"]).apply_translation(
        (0, 0, 1.2)
    )
    turn = np.eye(4)
    turn[:3, :3] = {1: [[1, 0, 0], [0, 0, 1], [0, -1, 0]], 2: np.eye(3)}[up_axis]
    scene = trimesh.Scene([shaft.apply_transform(turn), head.apply_transform(turn)])
    if path.suffix == ".glb":
        path.write_bytes(scene.export(file_type="glb"))
        return
    text, files = trimesh.exchange.obj.export_obj(scene, return_texture=True, mtl_name="arrow.mtl")
    path.write_text(text)
    for name, data in files.items():
        path.with_name(name).write_bytes(data)


@pytest.mark.parametrize("name", ["arrow.glb", "arrow.obj"])
def test_up_in_the_file_is_up_in_the_picture(renderer, make_job, tmp_path, name):
    write_arrow(tmp_path / name, up_axis=1)
    for picture in renderer.render(make_job(tmp_path / name, VIEWPOINTS[:3])):
        red, blue = centroid(picture.rgba, "red"), centroid(picture.rgba, "blue")
        assert red[1] < blue[1] - 10  # y grows downwards
        assert red[0] == pytest.approx(blue[0], abs=1.5)


def test_a_rotation_sets_a_lying_object_upright(renderer, make_job, tmp_path):
    write_arrow(tmp_path / "lying.obj", up_axis=2)  # +Z of the file is -Y in Blender's world
    upright = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)  # -Y to +Z
    [picture] = renderer.render(make_job(tmp_path / "lying.obj", rotation=upright))
    assert centroid(picture.rgba, "red")[1] < centroid(picture.rgba, "blue")[1] - 10


BOX = """
import sys, bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add(size=1, location=(50, -7, 3), scale=(1, 3, 2))
export = bpy.ops.export_scene.fbx if sys.argv[-1].endswith("fbx") else bpy.ops.wm.usd_export
export(filepath=sys.argv[-1])
"""


def write_box(path: Path) -> None:
    """Write a box that is 1 wide (x), 3 deep (y) and 2 high (z) once Blender has imported it."""
    if path.suffix == ".fbx" or path.suffix.startswith(".usd"):
        subprocess.run([sys.executable, "-I", "-c", BOX, str(path)], capture_output=True, check=True)
        return
    z_up = path.suffix in {".stl", ".ply"}
    trimesh.creation.box((1, 3, 2) if z_up else (1, 2, 3)).apply_translation((50, -7, 3)).export(path)


FORMATS = ["glb", "gltf", "obj", "stl", "ply", "fbx", "usd", "usda", "usdc", "usdz"]


@pytest.mark.parametrize("file_type", FORMATS)
def test_every_format_gives_the_same_silhouette(renderer, make_job, tmp_path, file_type):
    write_box(tmp_path / f"box.{file_type}")
    [picture] = renderer.render(make_job(tmp_path / f"box.{file_type}"))
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-3, 3) for z in (-2, 2)]) / 6
    pixels = project(corners, picture.camera)
    y, x = np.nonzero(picture.rgba[..., 3] > 128)
    assert [x.min(), y.min()] == pytest.approx(pixels.min(axis=0), abs=1.5)
    assert [x.max() + 1, y.max() + 1] == pytest.approx(pixels.max(axis=0), abs=1.5)


def test_vertex_colours_of_a_scan_are_seen(renderer, make_job, tmp_path):
    ball = trimesh.creation.icosphere()
    ball.visual.vertex_colors = np.tile([255, 0, 0, 255], (len(ball.vertices), 1)).astype(np.uint8)
    ball.export(tmp_path / "scan.ply")
    [picture] = renderer.render(make_job(tmp_path / "scan.ply"))
    solid = picture.rgba[..., 3] == 255
    assert is_colour(picture.rgba, "red")[solid].mean() > 0.95
    assert not picture.facts.untextured


def test_a_border_shows_what_the_whole_frame_shows(renderer, make_job, scene, tmp_path, monkeypatch):
    write_arrow(tmp_path / "arrow.glb", up_axis=1)
    sixteen = replace(scene, sampling=PRESETS["physical"])
    job = make_job(tmp_path / "arrow.glb", VIEWPOINTS[:3], scene=sixteen)
    cropped = renderer.render(job)
    monkeypatch.setattr(blender, "pixel_bounds", lambda *_: (0, 0, 128, 128))
    for crop, whole in zip(cropped, renderer.render(job), strict=True):
        difference = np.abs(crop.rgba.astype(int) - whole.rgba)
        assert difference[..., 3].max() <= 1
        assert (difference**2).mean() < 255**2 / 10**4.5  # 45 dB: the denoiser sees other surroundings
        assert np.quantile(difference, 0.999) <= 16


def test_pixels_depend_on_nothing_but_the_object_and_the_camera(renderer, make_job, tmp_path):
    write_arrow(tmp_path / "arrow.glb", up_axis=1)
    write_markers(tmp_path / "markers.glb")
    write_glass(tmp_path / "glass.glb")  # denoised in another way
    arrow = make_job(tmp_path / "arrow.glb", VIEWPOINTS[:2])
    first = [picture.rgba for picture in renderer.render(arrow)]
    renderer.render(make_job(tmp_path / "markers.glb"))
    renderer.render(make_job(tmp_path / "glass.glb"))
    after_another = [picture.rgba for picture in renderer.render(arrow)]
    with create(Options(), interpreter=None) as fresh:  # this one bound to a core, as well
        alone = [picture.rgba for picture in fresh.render(replace(arrow, viewpoints=VIEWPOINTS[1:2]))]
    np.testing.assert_array_equal(after_another, first)
    np.testing.assert_array_equal(alone, first[1:])


@pytest.mark.parametrize("preset", ["fast", "physical"])
def test_pixels_do_not_depend_on_the_efforts_spent_before(renderer, make_job, fast_scene, tmp_path, preset):
    write_arrow(tmp_path / "arrow.glb", up_axis=1)
    write_splinters(tmp_path / "splinters.ply")
    scene = replace(fast_scene, sampling=PRESETS[preset])
    arrow = make_job(tmp_path / "arrow.glb", VIEWPOINTS[:2], scene=scene)
    renderer.render(make_job(tmp_path / "splinters.ply", scene=scene))
    after_another = [picture.rgba for picture in renderer.render(arrow)]
    with create(Options(), interpreter=None) as fresh:
        alone = [picture.rgba for picture in fresh.render(arrow)]
    np.testing.assert_array_equal(after_another, alone)


def test_lamps_and_cameras_of_the_asset_change_nothing(renderer, make_job, tmp_path):
    write_arrow(tmp_path / "plain.glb", up_axis=1)
    gltf = pygltflib.GLTF2().load(str(tmp_path / "plain.glb"))
    gltf.extensionsUsed = ["KHR_lights_punctual"]
    lamp = {"type": "point", "intensity": 50_000.0, "color": [1, 0, 0]}
    gltf.extensions = {"KHR_lights_punctual": {"lights": [lamp]}}
    gltf.cameras = [
        pygltflib.Camera(type="perspective", perspective=pygltflib.Perspective(yfov=0.3, znear=0.1))
    ]
    gltf.nodes += [
        pygltflib.Node(extensions={"KHR_lights_punctual": {"light": 0}}, translation=[3, 3, 3]),
        pygltflib.Node(camera=0, translation=[1, 1, 1]),
    ]
    gltf.scenes[0].nodes += [len(gltf.nodes) - 2, len(gltf.nodes) - 1]
    gltf.save_binary(str(tmp_path / "lit.glb"))
    [plain] = renderer.render(make_job(tmp_path / "plain.glb"))
    [lit] = renderer.render(make_job(tmp_path / "lit.glb"))
    np.testing.assert_array_equal(plain.rgba, lit.rgba)


def test_a_missing_texture_is_reported_and_not_magenta(renderer, make_job, tmp_path, caplog):
    trimesh.creation.box().export(tmp_path / "box.obj")
    text = (tmp_path / "box.obj").read_text()
    (tmp_path / "a.mtl").write_text("newmtl m\nKd 0.8 0.8 0.8\nmap_Kd absent.png\n")
    (tmp_path / "textured.obj").write_text("mtllib a.mtl\nusemtl m\n" + text)
    [picture] = renderer.render(make_job(tmp_path / "textured.obj"))
    assert "textured: textures missing: absent.png" in caplog.text
    assert picture.facts == AssetFacts(12, 8, 0, 0, 0, ("absent.png",), coloured=False)
    assert picture.facts.untextured
    solid = picture.rgba[picture.rgba[..., 3] == 255][:, :3].astype(int)
    assert np.ptp(solid, axis=1).max() < 12  # grey


def test_a_material_that_reflects_nothing_still_shows_the_form(renderer, make_job, tmp_path):
    trimesh.creation.box().export(tmp_path / "box.obj")
    text = (tmp_path / "box.obj").read_text()
    (tmp_path / "a.mtl").write_text("newmtl m\nKd 0 0 0\nKs 0.8 0.8 0.8\nNi 1\n")
    (tmp_path / "piano.obj").write_text("mtllib a.mtl\nusemtl m\n" + text)
    [picture] = renderer.render(make_job(tmp_path / "piano.obj"))
    brightness = picture.rgba[picture.rgba[..., 3] == 255][:, :3].max(axis=1)
    assert brightness.min() >= 12
    assert brightness.max() < 80
    assert np.ptp(brightness.astype(int)) > 8  # its sides differ


@pytest.mark.parametrize("suffix", ["obj", "gltf"])
def test_textures_are_found_in_a_folder_whose_name_holds_a_backslash(renderer, make_job, tmp_path, suffix):
    folder = tmp_path / "chairs\\old" / "a"
    folder.mkdir(parents=True)
    box = trimesh.creation.box()
    corners = np.zeros((len(box.vertices), 2))
    box.visual = trimesh.visual.TextureVisuals(corners, image=Image.new("RGB", (8, 8), "red"))
    box.export(folder / f"box.{suffix}")
    [picture] = renderer.render(make_job(folder / f"box.{suffix}"))
    assert picture.facts.missing_textures == ()
    assert is_colour(picture.rgba, "red").any()


def test_a_texture_outside_the_assets_folder_is_not_used(renderer, make_job, tmp_path, caplog):
    folder = tmp_path / "asset"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "secret.png")
    trimesh.creation.box().export(folder / "box.obj")
    (folder / "a.mtl").write_text(f"newmtl m\nKd 0.8 0.8 0.8\nmap_Kd {tmp_path / 'secret.png'}\n")
    (folder / "box.obj").write_text("mtllib a.mtl\nusemtl m\n" + (folder / "box.obj").read_text())
    [picture] = renderer.render(make_job(folder / "box.obj"))
    assert "textures missing: secret.png" in caplog.text
    assert not is_colour(picture.rgba, "red").any()


def test_embedded_textures_are_seen(renderer, make_job, tmp_path):
    box = trimesh.creation.box()
    corners = np.zeros((len(box.vertices), 2))
    box.visual = trimesh.visual.TextureVisuals(corners, image=Image.new("RGB", (8, 8), "red"))
    box.export(tmp_path / "textured.glb")
    [picture] = renderer.render(make_job(tmp_path / "textured.glb"))
    assert picture.facts is not None
    assert (picture.facts.textures, picture.facts.missing_textures, picture.facts.untextured) == (
        1,
        (),
        False,
    )
    assert is_colour(picture.rgba, "red")[picture.rgba[..., 3] == 255].mean() > 0.95


def test_meshes_that_hang_on_a_camera_keep_their_places(renderer, make_job, tmp_path):
    write_markers(tmp_path / "markers.glb")
    gltf = pygltflib.GLTF2().load(str(tmp_path / "markers.glb"))
    lens = pygltflib.Perspective(yfov=0.3, znear=0.1)
    gltf.cameras = [pygltflib.Camera(type="perspective", perspective=lens)]
    roots = gltf.scenes[0].nodes
    mount = pygltflib.Node(camera=0, translation=[5.0, 1.0, -3.0], scale=[2.0, 2.0, 2.0], children=roots)
    gltf.nodes.append(mount)
    gltf.scenes[0].nodes = [len(gltf.nodes) - 1]
    gltf.save_binary(str(tmp_path / "mounted.glb"))
    [plain] = renderer.render(make_job(tmp_path / "markers.glb"))
    [mounted] = renderer.render(make_job(tmp_path / "mounted.glb"))
    np.testing.assert_allclose(mounted.rgba[..., 3].astype(int), plain.rgba[..., 3].astype(int), atol=40)
    for name in MARKER_COLOURS:
        assert centroid(mounted.rgba, name) == pytest.approx(centroid(plain.rgba, name), abs=0.3)


HIDDEN = """
import sys, bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add(size=1)
bpy.ops.mesh.primitive_cube_add(size=1, location=(0.8, 0, 0))
bpy.context.object.hide_viewport = True
bpy.ops.export_scene.fbx(filepath=sys.argv[-1])
"""


def test_what_an_fbx_hides_is_neither_framed_nor_seen(renderer, make_job, tmp_path):
    author = [sys.executable, "-I", "-c", HIDDEN, str(tmp_path / "hidden.fbx")]
    subprocess.run(author, capture_output=True, check=True)
    trimesh.creation.box().export(tmp_path / "alone.glb")
    [picture] = renderer.render(make_job(tmp_path / "hidden.fbx"))
    [alone] = renderer.render(make_job(tmp_path / "alone.glb"))
    np.testing.assert_allclose(picture.rgba[..., 3].astype(int), alone.rgba[..., 3].astype(int), atol=40)


RIGGED = """
import sys, bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add(size=1)  # stays where it is
bpy.ops.mesh.primitive_cube_add(size=1)
moving = bpy.context.object
bpy.ops.object.armature_add()
rig = bpy.context.object
moving.parent = rig
moving.vertex_groups.new(name="Bone").add(range(8), 1.0, "REPLACE")
moving.modifiers.new("Armature", "ARMATURE").object = rig
bone = rig.pose.bones["Bone"]
for frame, height in ((0, 3.0), (20, 9.0)):
    bone.location = (0, height, 0)  # the bone points upwards, along its own y
    bone.keyframe_insert("location", frame=frame)
bpy.context.scene.frame_start = 0
bpy.ops.export_scene.gltf(filepath=sys.argv[-1])
"""


def test_a_rigged_object_stands_as_in_its_first_frame(renderer, make_job, tmp_path):
    author = [sys.executable, "-I", "-c", RIGGED, str(tmp_path / "rigged.glb")]
    subprocess.run(author, capture_output=True, check=True)
    [picture] = renderer.render(make_job(tmp_path / "rigged.glb", (Viewpoint(0, 0),)))
    # Two cubes of height 1 with a gap of 2, so from 0.25 to 0.5 and back below. The gap begins at the far
    # edge, at 0.25 / 1.625, and the top is the near edge, at 0.5 / 1.375. At frame 20 they are 8 apart.
    y = np.nonzero((picture.rgba[..., 3] > 128).any(axis=1))[0]
    covered = len(y) / (y.max() - y.min() + 1)
    assert covered == pytest.approx(1 - (0.25 / 1.625) / (0.5 / 1.375), abs=0.03)


def test_vertices_that_are_not_finite_are_deleted(renderer, make_job, tmp_path, caplog):
    box = trimesh.creation.box().apply_translation((10, 10, 10))
    vertices = np.concatenate([box.vertices, [[np.nan] * 3, [np.inf, 0, 0], [10, 10, 10]]])
    faces = np.concatenate([box.faces, [[8, 9, 10]]])
    trimesh.Trimesh(vertices, faces, process=False).export(tmp_path / "broken.obj")
    box.export(tmp_path / "sound.obj")
    [broken] = renderer.render(make_job(tmp_path / "broken.obj"))
    [sound] = renderer.render(make_job(tmp_path / "sound.obj"))
    assert "broken: 2 vertices with NaN or infinite coordinates deleted" in caplog.text
    np.testing.assert_allclose(broken.rgba[..., 3].astype(int), sound.rgba[..., 3].astype(int), atol=1)


STRAYS = {"vertex": "v 10 1e6 10\nf 1 2 9\n", "triangle": "v 1e30 0 0\nv 1e30 1 0\nv 1e30 1 1\nf 9 10 11\n"}


@pytest.mark.parametrize("kind", STRAYS)
def test_a_stray_face_does_not_decide_the_scale(renderer, make_job, tmp_path, kind):
    trimesh.creation.box().apply_translation((10, 10, 10)).export(tmp_path / "sound.obj")
    (tmp_path / "stray.obj").write_text((tmp_path / "sound.obj").read_text() + "\n" + STRAYS[kind])
    [stray] = renderer.render(make_job(tmp_path / "stray.obj"))
    [sound] = renderer.render(make_job(tmp_path / "sound.obj"))
    assert (stray.facts.outlier_faces, sound.facts.outlier_faces) == (1, 0)
    assert stray.facts.vertices == sound.facts.vertices
    assert sound.facts.untextured  # it has no material
    np.testing.assert_allclose(stray.rgba[..., 3].astype(int), sound.rgba[..., 3].astype(int), atol=1)


def test_a_stray_copy_of_a_mesh_leaves_the_good_one_where_it_is(renderer, make_job, tmp_path):
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.icosphere(), node_name="ball")
    scene.add_geometry(trimesh.creation.box((3, 0.1, 0.1)), node_name="bar")
    (tmp_path / "two.glb").write_bytes(scene.export(file_type="glb"))
    gltf = pygltflib.GLTF2().load(str(tmp_path / "two.glb"))
    bar = next(node.mesh for node in gltf.nodes if node.name == "bar")
    gltf.nodes.append(pygltflib.Node(mesh=bar, translation=[1e6, 0.0, 0.0]))
    gltf.scenes[0].nodes.append(len(gltf.nodes) - 1)
    gltf.save_binary(str(tmp_path / "copied.glb"))
    [copied] = renderer.render(make_job(tmp_path / "copied.glb"))
    [two] = renderer.render(make_job(tmp_path / "two.glb"))
    np.testing.assert_array_equal(copied.rgba, two.rgba)


def write_glb(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Write a GLB by hand: libraries refuse what these tests need."""
    binary = vertices.astype("<f4").tobytes() + faces.astype("<u4").tobytes()
    split = vertices.size * 4
    content = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0] if len(faces) else []}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(binary)}],
        "bufferViews": [
            {"buffer": 0, "byteLength": split},
            {"buffer": 0, "byteOffset": split, "byteLength": len(binary) - split},
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": len(vertices), "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": int(faces.size), "type": "SCALAR"},
        ],
    }
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    )
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)


def test_nothing_to_see_is_an_empty_render(renderer, make_job, tmp_path):
    (tmp_path / "no_mesh.glb").write_bytes(glb_without_mesh())
    (tmp_path / "point.obj").write_text("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n")
    (tmp_path / "loose.obj").write_text("v 0 0 0\nv 1 1 1\n")
    write_glb(tmp_path / "nan.glb", np.full((3, 3), np.nan), np.array([[0, 1, 2]]))
    for name in ("no_mesh.glb", "point.obj", "loose.obj", "nan.glb"):
        assert failure_of(renderer, make_job(tmp_path / name)).reason == EMPTY_RENDER, name


def glb_without_mesh() -> bytes:
    gltf = pygltflib.GLTF2(scene=0, scenes=[pygltflib.Scene(nodes=[0])], nodes=[pygltflib.Node(name="empty")])
    gltf.set_binary_blob(b"")
    return b"".join(gltf.save_to_bytes())


def test_an_object_too_large_for_its_numbers_is_a_bad_asset(renderer, make_job, tmp_path):
    (tmp_path / "vast.obj").write_text("v 0 0 0\nv 1e30 0 0\nv 0 1e30 0\nf 1 2 3\n")
    failure = failure_of(renderer, make_job(tmp_path / "vast.obj"))
    assert (failure.reason, "largest extent" in failure.message) == (BAD_ASSET, True)


def test_what_the_importer_refuses_is_a_bad_asset_with_its_traceback(renderer, make_job, tmp_path):
    (tmp_path / "strange.fbx").write_bytes(
        b"Kaydara FBX Binary  \x00\x1a\x00" + (7400).to_bytes(4, "little") + bytes(200)
    )
    failure = failure_of(renderer, make_job(tmp_path / "strange.fbx"))
    assert (failure.reason, failure.attempts) == (BAD_ASSET, 1)
    assert "while importing strange" in failure.message
    assert "RuntimeError" in failure.log_tail


@pytest.mark.parametrize("rig", ["studio", "objaverse"])
def test_a_white_ball_is_neither_burnt_out_nor_black_below(renderer, make_job, scene, tmp_path, rig):
    ball = coloured(trimesh.creation.icosphere(subdivisions=4), (0.8, 0.8, 0.8))
    ball.export(tmp_path / "ball.glb")
    lit = make_scene(
        resolution=64,
        lens_mm=35.0,
        sensor_mm=32.0,
        light=rig,
        preset="physical",
        samples=None,
        view_transform="Standard",
    )
    around = tuple(Viewpoint(azimuth_deg, 0) for azimuth_deg in range(0, 360, 60))
    pictures = renderer.render(make_job(tmp_path / "ball.glb", (*around, Viewpoint(0, 90)), scene=lit))
    for picture in pictures:
        brightness = picture.rgba[picture.rgba[..., 3] == 255][:, :3].max(axis=1)
        if rig == "studio":
            assert brightness.max() < 245
            assert brightness.min() > 100
        assert np.ptp(brightness.astype(int)) > 25  # shading shows the form


FAULTS = [
    ("abort-view1", CRASH, "SIGABRT", 3),
    ("segfault-load", CRASH, "SIGSEGV", 3),
    ("hang-view0", TIMEOUT, None, 1),
]


def test_faults_of_the_real_child_are_values(launcher, make_job, tmp_path, scene):
    options = Options(step_timeout_s=4.0, max_memory_gb=2.0)
    with create(options, interpreter=launcher("real_child")) as renderer:
        for name, reason, signal, attempts in FAULTS:
            trimesh.creation.box().export(tmp_path / f"{name}.obj")
            failure = failure_of(renderer, make_job(tmp_path / f"{name}.obj", VIEWPOINTS[:2]))
            assert (failure.reason, failure.signal, failure.attempts) == (reason, signal, attempts)
            assert "about to" in failure.log_tail
            trimesh.creation.box().export(tmp_path / "sound.obj")
            assert len(renderer.render(make_job(tmp_path / "sound.obj"))) == 1


def test_memory_of_the_real_child_is_capped(launcher, make_job, tmp_path):
    with create(Options(max_memory_gb=0.8), interpreter=launcher("real_child")) as renderer:
        trimesh.creation.box().export(tmp_path / "greedy-load.obj")
        assert failure_of(renderer, make_job(tmp_path / "greedy-load.obj")).reason == OOM


def test_the_real_child_dies_with_its_parent_even_in_the_middle_of_its_work(launcher, tmp_path):
    trimesh.creation.box().export(tmp_path / "hang-load.obj")
    program = (
        "import sys, threading, os, time\n"
        "from render.backends.blender import Options, create\n"
        "renderer = create(Options(), interpreter=sys.argv[1])\n"
        "renderer.versions(); print(renderer.supervisor.child_pid, flush=True)\n"
        "from render.job import encode_message\n"
        "renderer.supervisor._child._process.stdin.write(\n"
        "    encode_message({'kind': 'load', 'asset': sys.argv[2], 'rotation': None}))\n"
        "time.sleep(0.3); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", program, launcher("real_child"), str(tmp_path / "hang-load.obj")]
    pid = int(subprocess.run(command, capture_output=True, check=False).stdout)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline


def test_memory_of_a_child_does_not_grow_with_the_objects(renderer, make_job, tmp_path):
    fine = trimesh.creation.icosphere(subdivisions=6)  # 41k vertices, 6 MB in Blender
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1024, 1024, 3), dtype=np.uint8))
    corners = np.random.default_rng(0).random((len(fine.vertices), 2))
    fine.visual = trimesh.visual.TextureVisuals(corners, image=noise)  # 3 MB as PNG, 4 MB in Blender
    fine.export(tmp_path / "fine.glb")
    job = make_job(tmp_path / "fine.glb")

    def resident_mb_after(objects: int) -> float:
        for _ in range(objects):
            renderer.render(job)
        return psutil.Process(renderer.supervisor.child_pid).memory_info().rss / 1e6

    before = resident_mb_after(8)
    assert resident_mb_after(24) < before + 20


def test_a_blender_binary_is_understood_past_its_greeting(launcher, make_job, tmp_path):
    # No binary is at hand: this one prints and takes its arguments as Blender does.
    binary = tmp_path / "blender-4.5"
    binary.write_text(f'#!/bin/sh\necho "Blender 4.5.15 LTS"\nexec "{sys.executable}" "$4"\n')
    binary.chmod(0o755)
    trimesh.creation.box().export(tmp_path / "box.obj")
    with create(Options(), interpreter=str(binary)) as renderer:
        assert len(renderer.render(make_job(tmp_path / "box.obj"))) == 1


def test_a_child_outlives_the_thread_that_asked_for_it(make_job, tmp_path):
    trimesh.creation.box().export(tmp_path / "box.obj")
    with create(Options(), interpreter=None) as renderer:
        starter = threading.Thread(target=renderer.versions)
        starter.start()
        starter.join()
        pid = renderer.supervisor.child_pid
        assert len(renderer.render(make_job(tmp_path / "box.obj"))) == 1
        assert renderer.supervisor.child_pid == pid


def test_settings_that_blender_does_not_know_are_explained(make_job, scene, tmp_path):
    trimesh.creation.box().export(tmp_path / "box.obj")
    job = make_job(tmp_path / "box.obj", scene=replace(scene, view_transform="Technicolor"))
    with (
        create(Options(), interpreter=None) as renderer,
        pytest.raises(RendererUnavailableError, match="Technicolor"),
    ):
        renderer.render(job)


@pytest.fixture(scope="module")
def fast_scene() -> SceneSettings:
    return make_scene(
        resolution=128,
        lens_mm=35.0,
        sensor_mm=32.0,
        light="studio",
        preset="fast",
        samples=None,
        view_transform="Standard",
    )


def undenoised(scene: SceneSettings, samples: int) -> SceneSettings:
    sampling = replace(scene.sampling, efforts=(Effort(samples),), denoiser_quality=None)
    return replace(scene, sampling=sampling)


def test_the_fast_preset_is_like_many_samples_under_its_own_light(renderer, make_job, fast_scene, tmp_path):
    write_markers(tmp_path / "markers.glb")
    (picture,) = renderer.render(make_job(tmp_path / "markers.glb", scene=fast_scene))
    (truth,) = renderer.render(make_job(tmp_path / "markers.glb", scene=undenoised(fast_scene, 128)))
    white = np.full(3, 255, np.uint8)
    assert structural_similarity(composite(picture.rgba, white), composite(truth.rgba, white)) > 0.995


def test_painted_light_is_the_rigs_ambient_and_suns_by_hand(renderer, make_job, fast_scene, tmp_path):
    box = coloured(trimesh.creation.box(), (0.5, 0.5, 0.5))
    (tmp_path / "box.glb").write_bytes(trimesh.Scene(box).export(file_type="glb"))
    rig = LightRig(ambient=0.2, lamps=(Sun((0, 0, -1), 1.0, 0.0), Sun((0, 0, 1), 0.5 * np.pi, 0.0)))
    scene = replace(fast_scene, light=rig)  # the real sun shines from below, the painted one from above
    (picture,) = renderer.render(make_job(tmp_path / "box.glb", (Viewpoint(0, 89.9),), scene=scene))
    top = picture.rgba[64, 64, :3].astype(float) / 255
    linear = ((top + 0.055) / 1.055) ** 2.4
    assert linear == pytest.approx(0.5 * (0.2 + 0.5), rel=0.03)


@pytest.mark.parametrize("painted", [True, False], ids=["with paint", "alone"])
def test_the_real_sun_of_painted_light_shines_too(renderer, make_job, fast_scene, tmp_path, painted):
    trimesh.creation.box().export(tmp_path / "box.stl")  # no material: Blender's own grey, 0.8
    rig = LightRig(ambient=0.2 if painted else 0.0, lamps=(Sun((0, 0, 1), 0.5 * np.pi, 0.0),))
    scene = replace(fast_scene, light=rig)
    (picture,) = renderer.render(make_job(tmp_path / "box.stl", (Viewpoint(0, 89.9),), scene=scene))
    linear = float(((picture.rgba[64, 64, 0] / 255 + 0.055) / 1.055) ** 2.4)
    diffuse = 0.8 * ((0.2 if painted else 0.0) + 0.5)
    assert diffuse < linear < 1.2 * diffuse  # its gloss adds some


def write_glass(path: Path) -> None:
    """Write a ball whose front and back each hide a quarter of what is behind them."""
    ball = trimesh.creation.icosphere(subdivisions=4)
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=(0.5, 0.5, 0.5, 0.25), alphaMode="BLEND")
    ball.visual = trimesh.visual.TextureVisuals(material=material)
    path.write_bytes(trimesh.Scene(ball).export(file_type="glb"))


@pytest.mark.parametrize("preset", ["fast", "physical"])
def test_glass_has_no_noise(renderer, make_job, fast_scene, tmp_path, preset):
    write_glass(tmp_path / "glass.glb")
    sampling = replace(PRESETS[preset], efforts=PRESETS[preset].efforts[:1])
    scene = replace(fast_scene, sampling=sampling)
    (picture,) = renderer.render(make_job(tmp_path / "glass.glb", scene=scene))
    alpha = picture.rgba[54:74, 54:74, 3].astype(float) / 255
    assert alpha.mean() == pytest.approx(1 - 0.75**2, abs=0.02)
    assert alpha.std() < 0.01  # 0.05 where the 8 samples of `physical` are left as they are


class Eavesdropper:
    """A session that remembers the efforts asked for."""

    def __init__(self, session) -> None:
        self.session, self.efforts = session, []

    def ask(self, message, step):
        if message["kind"] == "view":
            self.efforts.append((message["samples"], message["oversampling"]))
        return self.session.ask(message, step)


def write_splinters(path: Path) -> None:
    """Write what takes the most effort: thin triangles, all over the place."""
    rng = np.random.default_rng(0)
    splinters = trimesh.Trimesh(rng.uniform(-1, 1, (6000, 3)), np.arange(6000).reshape(-1, 3), process=False)
    splinters.vertices[1::3] = splinters.vertices[::3] + 0.02
    splinters.export(path)


def efforts_for(renderer, job: RenderJob) -> list[tuple[int, int]]:
    def listen(session) -> list[tuple[int, int]]:
        eavesdropper = Eavesdropper(session)
        photograph(eavesdropper, job)
        return eavesdropper.efforts

    return renderer.supervisor.run(job.scene, listen)


@pytest.mark.parametrize("preset", ["fast", "physical"])
def test_an_object_gets_the_least_effort_that_its_first_view_shows_to_be_enough(
    renderer, make_job, fast_scene, tmp_path, preset
):
    sampling = PRESETS[preset]
    ladder = [(effort.samples, effort.oversampling) for effort in sampling.efforts]
    trimesh.creation.icosphere(subdivisions=4).export(tmp_path / "ball.ply")
    write_splinters(tmp_path / "splinters.ply")
    scene = replace(fast_scene, sampling=sampling)
    smooth = efforts_for(renderer, make_job(tmp_path / "ball.ply", VIEWPOINTS[:3], scene=scene))
    assert smooth == [ladder[-1], ladder[0], *[ladder[0]] * 3]
    rough = efforts_for(renderer, make_job(tmp_path / "splinters.ply", VIEWPOINTS[:3], scene=scene))
    assert rough == [ladder[-1], *ladder[:-1], *[ladder[-1]] * 3]


def test_the_device_is_chosen_and_reported_and_a_missing_one_explained(make_job, scene, tmp_path):
    trimesh.creation.box().export(tmp_path / "box.obj")
    with create(Options(), interpreter=None) as renderer:
        renderer.render(make_job(tmp_path / "box.obj", scene=replace(scene, device="cpu")))
        assert renderer.versions()["device"] == "CPU"
        with pytest.raises(RendererUnavailableError, match=r"device=metal is not here: Blender finds"):
            renderer.render(make_job(tmp_path / "box.obj", scene=replace(scene, device="metal")))
