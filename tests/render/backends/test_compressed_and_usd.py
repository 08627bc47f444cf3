"""Real Blender on what its own exporter wrote: Draco, WebP, and USD with all that it may refer to."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.errors import BAD_ASSET, TOO_BIG
from render.backends.blender import Options, create
from render.cameras import Viewpoint
from render.job import RenderedView, RenderFailed, RenderJob
from render.stage import make_scene

pytestmark = [pytest.mark.blender, pytest.mark.timeout(120)]

AUTHOR = """
import sys, bpy
folder = sys.argv[-1]
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.mesh.primitive_cube_add(size=1)
material = bpy.data.materials.new("paint")
material.use_nodes = True
texture = material.node_tree.nodes.new("ShaderNodeTexImage")
surface = material.node_tree.nodes["Principled BSDF"]
material.node_tree.links.new(texture.outputs["Color"], surface.inputs["Base Color"])
bpy.context.object.data.materials.append(material)
for name, colour in (("red", (1, 0, 0, 1)), ("green", (0, 1, 0, 1))):
    image = texture.image = bpy.data.images.new("paint", 8, 8)
    image.pixels = colour * 64
    image.filepath_raw, image.file_format = f"{folder}/{name}/paint.png", "PNG"
    image.save()
    bpy.ops.wm.usd_export(filepath=f"{folder}/{name}/cube.usdz")
    bpy.ops.wm.usd_export(filepath=f"{folder}/{name}/cube.usdc")
bpy.ops.export_scene.gltf(filepath=f"{folder}/draco.glb", export_draco_mesh_compression_enable=True)
bpy.ops.export_scene.gltf(filepath=f"{folder}/webp.glb", export_image_format="WEBP")
"""
CUBE = """#usda 1.0
def Mesh "cube"
{
    int[] faceVertexCounts = [4, 4, 4, 4, 4, 4]
    int[] faceVertexIndices = [3,2,1,0, 4,5,6,7, 0,1,5,4, 1,2,6,5, 2,3,7,6, 3,0,4,7]
    point3f[] points = [(-1,-1,-1), (1,-1,-1), (1,1,-1), (-1,1,-1), (-1,-1,1), (1,-1,1), (1,1,1), (-1,1,1)]
}
"""


@pytest.fixture(scope="module")
def authored(tmp_path_factory) -> Path:
    """Have Blender export a red and a green cube, whose textures have the same name."""
    folder = tmp_path_factory.mktemp("authored")
    subprocess.run([sys.executable, "-I", "-c", AUTHOR, str(folder)], capture_output=True, check=True)
    return folder


@pytest.fixture(scope="module")
def picture_of():
    scene = make_scene(
        resolution=64,
        lens_mm=35.0,
        sensor_mm=32.0,
        light="studio",
        preset="physical",
        samples=2,
        view_transform="Standard",
    )
    with create(Options(bind_cores=False), interpreter=None) as renderer:

        def render(asset: Path) -> RenderedView:
            job = RenderJob(asset.stem, str(asset), None, (Viewpoint(30, 25),), 1.5, 0.04, scene)
            [picture] = renderer.render(job)
            return picture

        yield render


def failure_of(picture_of, asset: Path) -> RenderFailed:
    with pytest.raises(RenderFailed) as failure:
        picture_of(asset)
    return failure.value


def hue(picture: RenderedView) -> str:
    solid = picture.rgba[picture.rgba[..., 3] == 255][:, :3].astype(float)
    assert len(solid) > 500
    red, green, blue = solid.mean(axis=0)
    return "red" if red > 3 * max(green, blue) else "green" if green > 3 * max(red, blue) else "neither"


def test_geometry_compressed_with_draco_is_seen(authored, picture_of):
    assert b"KHR_draco_mesh_compression" in (authored / "draco.glb").read_bytes()
    assert hue(picture_of(authored / "draco.glb")) == "green"


def test_textures_in_webp_are_seen(authored, picture_of):
    assert b"image/webp" in (authored / "webp.glb").read_bytes()
    assert hue(picture_of(authored / "webp.glb")) == "green"


@pytest.mark.parametrize("name", ["cube.usdz", "cube.usdc"])
def test_a_usd_texture_of_the_same_name_as_the_last_objects_is_its_own(authored, picture_of, name):
    order = ["red", "green", "red"]
    assert [hue(picture_of(authored / colour / name)) for colour in order] == order


def write_usd(folder: Path, **layers: str) -> Path:
    """Write layers of the given names into a folder beside an `outside.usda`; return the folder."""
    folder.mkdir()
    (folder.parent / "outside.usda").write_text(CUBE)
    (folder / "cube.usda").write_text(CUBE)
    for name, text in layers.items():
        (folder / f"{name}.usda").write_text("#usda 1.0\n" + text)
    return folder


def test_a_layer_beside_the_file_is_followed(picture_of, tmp_path):
    folder = write_usd(tmp_path / "a", ours='def "x" (references = @cube.usda@</cube>) {}')
    assert picture_of(folder / "ours.usda").rgba[..., 3].any()
    with zipfile.ZipFile(folder / "both.usdz", "w") as archive:
        archive.write(folder / "ours.usda", "ours.usda")
        archive.write(folder / "cube.usda", "cube.usda")
    assert picture_of(folder / "both.usdz").rgba[..., 3].any()


def test_a_usd_file_composed_of_anything_outside_its_folder_is_refused(picture_of, tmp_path):
    outside = tmp_path / "outside.usda"
    references = {
        "relative": 'def "x" (references = @../outside.usda@</cube>) {}',
        "absolute": f'def "x" (payload = @{outside}@</cube>) {{}}',
        "sublayer": f"(subLayers = [@{outside}@])",
        "indirect": "(subLayers = [@./absolute.usda@])",
        "expression": """(subLayers = [@`"../outside.usda"`@])""",
    }
    folder = write_usd(tmp_path / "a", **references)
    with zipfile.ZipFile(folder / "packed.usdz", "w") as archive:
        archive.write(folder / "absolute.usda", "first.usda")
    for name in (*(f"{name}.usda" for name in references), "packed.usdz"):
        failure = failure_of(picture_of, folder / name)
        assert (failure.reason, "outside" in failure.message) == (BAD_ASSET, True), name


def test_a_usd_file_that_lacks_a_part_of_itself_is_refused(picture_of, tmp_path):
    folder = write_usd(tmp_path / "a", torn='def "x" (references = @absent.usda@</cube>) {}')
    failure = failure_of(picture_of, folder / "torn.usda")
    assert (failure.reason, "'absent.usda', which is missing" in failure.message) == (BAD_ASSET, True)


def test_a_package_that_would_unpack_to_more_than_it_is_is_refused(picture_of, tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.usdz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.usda", CUBE)
        archive.writestr("zeros.png", bytes(10**7))
    failure = failure_of(picture_of, tmp_path / "bomb.usdz")
    assert (failure.reason, "is compressed" in failure.message) == (BAD_ASSET, True)


def test_a_picture_of_too_many_pixels_is_too_big_wherever_it_hides(picture_of, tmp_path):
    Image.new("1", (30_000, 30_000)).save(tmp_path / "huge.png")
    assert (tmp_path / "huge.png").stat().st_size < 10**6
    with zipfile.ZipFile(tmp_path / "a.usdz", "w") as archive:
        archive.writestr("a.usda", CUBE)
        archive.write(tmp_path / "huge.png", "huge.png")
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd -s 1 1 1 huge.png\n")
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    for name in ("a.usdz", "a.obj"):
        failure = failure_of(picture_of, tmp_path / name)
        assert (failure.reason, "30000 x 30000" in failure.message) == (TOO_BIG, True), name


def test_a_usd_mesh_without_a_material_is_grey(picture_of, tmp_path):
    (tmp_path / "cube.usda").write_text(CUBE)
    solid = picture_of(tmp_path / "cube.usda").rgba
    grey = solid[solid[..., 3] == 255][:, :3].mean(axis=0)
    assert np.ptp(grey) < 3
    assert grey.mean() > 60
