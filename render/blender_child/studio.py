"""The scene around the object, and the pictures taken of it."""

import gc
import os
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

from render.blender_child.denoising import GlassDenoising
from render.blender_child.devices import choose_device
from render.blender_child.importing import (
    PlainNames,
    cut_out_by_textures,
    detach_missing_textures,
    give_materials,
    has_colour,
    hide_all_but_meshes,
    import_asset,
    lift_blackest,
)
from render.blender_child.lighting import add_light
from render.blender_child.measuring import delete_nonfinite_vertices, delete_outlier_faces, measure
from render.blender_child.mending import mend_surfaces
from render.blender_child.painting import has_glass, paint_light
from render.blender_child.passes import PassScene

Message = dict[str, Any]
USABLE_SIZE = (1e-12, 1e12)
"""Beyond these the determinant of the normalising matrix leaves float32."""


def blocks() -> list[Any]:
    """List every data-block of the file, except the buffers that Blender itself renders into."""
    collections = [prop.identifier for prop in bpy.data.bl_rna.properties if prop.type == "COLLECTION"]
    found = [block for name in collections for block in getattr(bpy.data, name)]
    return [block for block in found if getattr(block, "source", None) != "VIEWER"]


class Studio:
    """The scene around the object: camera, light and settings, set up once, and the object of the day."""

    def __init__(self, settings: Message) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.scene = bpy.context.scene
        sampling = settings["sampling"]
        self.painted = settings["light"] if sampling["shading"] == "painted" else None
        linear = any(effort["oversampling"] > 1 for effort in sampling["efforts"])
        self.picture = LinearFile() if linear else PictureFile()
        set_render_settings(self.scene, settings, self.picture.path)
        self.device = choose_device(settings["device"])
        self.scene.cycles.device = "CPU" if self.device == "CPU" else "GPU"
        set_sampling(self.scene.cycles, sampling)
        self.glass = GlassDenoising(self.scene) if sampling["denoiser_quality"] else None
        if linear:
            render_sub_pixels(self.scene)
        self.camera = add_camera(self.scene, settings)
        self.passes = PassScene(self.camera) if settings["passes"] else None
        self.world = add_light(self.scene, settings["light"], painted=self.painted is not None)
        self.kept = {block.as_pointer() for block in blocks()}
        self.names = PlainNames()

    def load(self, request: Message) -> tuple[Message, bytes]:
        """Import an object in place of the last one, clean, turn and normalise it, and measure it."""
        self.clear()
        path = Path(request["asset"])
        import_asset(path, self.names.name(path))
        self.scene.world, self.scene.camera = self.world, self.camera  # should an importer bring its own
        self.scene.frame_set(0)
        hide_all_but_meshes(item for item in self.scene.objects if item.as_pointer() not in self.kept)
        nonfinite, outliers = delete_nonfinite_vertices(), delete_outlier_faces()
        mend_surfaces()
        textures, missing = detach_missing_textures(path.parent)
        if path.suffix.lower() == ".obj":
            cut_out_by_textures()
        give_materials()
        coloured = has_colour()
        lift_blackest()
        if self.painted:
            paint_light(self.painted)
        if self.glass:
            self.glass.switch(see_through=has_glass())
        triangles, size, vertices = self.normalise(request["rotation"])
        facts = {
            "triangles": triangles,
            "vertices": len(vertices),
            "nonfinite_vertices": nonfinite,
            "outlier_faces": outliers,
            "missing_textures": missing,
            "textures": textures,
            "coloured": coloured,
        }
        if self.passes:
            self.passes.link(self.scene.objects)
        return {"kind": "loaded", "size": size, **facts}, vertices.astype("<f4").tobytes()

    def clear(self) -> None:
        """Delete everything that the set-up did not make; nothing an importer leaves can survive this."""
        for scene in bpy.data.scenes:
            # Cycles keeps its copy of the last object for more views, and parts of it for longer.
            scene.render.use_persistent_data = False
            scene.render.use_persistent_data = True
        bpy.data.batch_remove([block for block in blocks() if block.as_pointer() not in self.kept])
        gc.collect()  # the glTF importer leaves the file's bytes in cycles of references

    def normalise(self, rotation: list[float] | None) -> tuple[int, float, NDArray[np.float64]]:
        """Turn the object, scale its largest extent to 1 and centre it at the origin.

        Returns:
            Its triangles, its largest extent as imported, and its (N, 3) vertices in the world.
        """
        root = bpy.data.objects.new("root", None)
        for item in self.scene.objects:
            if item.parent is None and item.as_pointer() not in self.kept:
                item.parent = root
                item.matrix_parent_inverse = Matrix.Identity(4)
        self.scene.collection.objects.link(root)
        rows = [rotation[row : row + 3] for row in (0, 3, 6)] if rotation else Matrix.Identity(3)
        turn = Matrix(rows).to_4x4()
        root.matrix_world = turn
        triangles, vertices = measure()
        if not len(vertices):
            return triangles, 0.0, vertices
        low, high = vertices.min(axis=0), vertices.max(axis=0)  # (3,), (3,)
        size = float((high - low).max())
        if not USABLE_SIZE[0] <= size <= USABLE_SIZE[1]:
            return triangles, size, vertices
        root.matrix_world = Matrix.Scale(1 / size, 4) @ Matrix.Translation(Vector(-(low + high) / 2)) @ turn
        return triangles, size, measure()[1]

    def view(self, request: Message) -> tuple[Message, bytes]:
        """Render the pixels inside the border: as a PNG, or as linear sub-pixels."""
        self.place_camera(request)
        self.scene.cycles.samples = request["samples"]
        set_border(self.scene.render, request["border"], request["resolution"], request["oversampling"])
        bpy.ops.render.render(write_still=True)
        return self.picture.take()

    def view_passes(self, request: Message) -> tuple[Message, bytes]:
        """Render depth and normals of the pixels inside the border, as an EXR."""
        assert self.passes is not None, "the parent asks for passes in its setup"
        self.place_camera(request)
        set_border(self.passes.scene.render, request["border"], request["resolution"], 1)
        return self.passes.render()

    def place_camera(self, request: Message) -> None:
        pose = request["camera_to_world"]
        self.camera.data.lens = request["lens_mm"]
        self.camera.matrix_world = Matrix([pose[row : row + 4] for row in (0, 4, 8, 12)])


class PictureFile:
    """A file without a name, in memory, into which Blender renders: nothing is left behind by a kill."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("picture")
        self.path = f"/proc/self/fd/{self.descriptor}"

    def take(self) -> tuple[Message, bytes]:
        """Return what was written last, and empty the file."""
        length = os.fstat(self.descriptor).st_size
        content = os.pread(self.descriptor, length, 0)
        os.ftruncate(self.descriptor, 0)
        return {"kind": "picture"}, content


class LinearFile(PictureFile):
    """The same for an EXR of linear half floats, which Blender itself reads back."""

    def take(self) -> tuple[Message, bytes]:
        image = bpy.data.images.load(self.path)
        image.colorspace_settings.name = "Non-Color"
        image.alpha_mode = "CHANNEL_PACKED"
        width, height = image.size
        pixels = np.empty(width * height * 4, dtype=np.float32)
        image.pixels.foreach_get(pixels)
        bpy.data.images.remove(image)
        os.ftruncate(self.descriptor, 0)
        rows = pixels.reshape(height, width, 4)[::-1]  # Blender counts rows from below
        return {"kind": "linear", "width": width, "height": height}, rows.astype("<f2").tobytes()


def set_render_settings(scene: Any, settings: Message, picture_path: str) -> None:
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x = render.resolution_y = settings["resolution"]
    render.resolution_percentage = 100
    render.film_transparent = True
    render.use_border = render.use_crop_to_border = True
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.dither_intensity = 0.0
    render.filepath = picture_path
    render.use_file_extension = False
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGBA"
    render.image_settings.color_depth = "8"
    render.image_settings.compression = 0  # compression 100 costs 204 ms at 512 px (measured 2026-11)
    for name in (prop.identifier for prop in render.bl_rna.properties):
        if name.startswith("use_stamp"):
            setattr(render, name, False)
    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = settings["view_transform"]
    scene.view_settings.look = "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0.0, 1.0


def set_sampling(cycles: Any, sampling: Message) -> None:
    cycles.seed, cycles.use_animated_seed = 0, False
    cycles.use_adaptive_sampling = False
    # With the patterns of blue noise, Blender's own choice, pixels depend on the sample counts of earlier
    # pictures (seen in 4.5): on whatever objects this child had before.
    cycles.sampling_pattern = "TABULATED_SOBOL"
    cycles.use_light_tree = False  # two or three lamps need none: it cost 5 to 10 % (measured 2026-11-24)
    cycles.use_denoising = sampling["denoiser_quality"] is not None
    if cycles.use_denoising:
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        cycles.denoising_quality = sampling["denoiser_quality"]
        cycles.denoising_prefilter = sampling["denoiser_prefilter"]
        cycles.denoising_use_gpu = False
    cycles.diffuse_bounces = sampling["diffuse_bounces"]
    cycles.glossy_bounces = sampling["glossy_bounces"]
    cycles.transparent_max_bounces = sampling["transparent_bounces"]
    cycles.min_transparent_bounces = sampling["transparent_bounces"]  # none of them left to chance
    cycles.transmission_bounces = sampling["transmission_bounces"]
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    cycles.filter_width = sampling["filter_width_px"]


def render_sub_pixels(scene: Any) -> None:
    """Keep each sub-pixel to itself, in linear light; the parent filters them into pixels."""
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_depth = "16"
    scene.render.image_settings.exr_codec = "NONE"
    scene.cycles.pixel_filter_type = "BOX"


def add_camera(scene: Any, settings: Message) -> Any:
    lens = bpy.data.cameras.new("camera")
    lens.lens, lens.sensor_width = settings["lens_mm"], settings["sensor_mm"]
    lens.sensor_fit = "HORIZONTAL"
    lens.clip_start, lens.clip_end = 0.001, 1000.0
    camera = bpy.data.objects.new("camera", lens)
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera


def set_border(render: Any, border: list[int], resolution: int, oversampling: int) -> None:
    """Restrict rendering to whole pixels; Blender counts y from below and cuts fractions off."""
    render.resolution_x = render.resolution_y = resolution * oversampling
    x_min, y_min, x_max, y_max = border
    inside = 0.25 / render.resolution_x  # keeps float32 rounding on the right side of the cut
    render.border_min_x, render.border_max_x = x_min / resolution + inside, x_max / resolution + inside
    render.border_min_y = (resolution - y_max) / resolution + inside
    render.border_max_y = (resolution - y_min) / resolution + inside
