"""The script that runs inside Blender; `render/job.py` describes the conversation it holds.

It is started as `python blender_child.py`, where that Python has bpy, or as `blender --background
--factory-startup --python blender_child.py`. It imports nothing of this project, because Blender's own
Python does not have it. One child renders many objects, one after the other, and keeps nothing of an
object once the next one is asked for.
"""

import ctypes
import faulthandler
import json
import os
import signal
import struct
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":
    # Importers and Cycles print to descriptor 1 from C++: from here on that is the log, and the pipe to
    # the parent has a number that only this script knows. It has to happen before bpy is loaded.
    REPLIES_FD = os.dup(1)
    os.dup2(2, 1)

import bpy

# The wheel's other modules can be found only once bpy is loaded.
# isort: split
import bmesh  # type: ignore[import-not-found]
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

PREAMBLE = b"\x00mvcap-blender-child-1\n"
HEADER = struct.Struct(">IQ")
PR_SET_PDEATHSIG = 1
Message = dict[str, Any]

IMPORTERS: dict[str, tuple[tuple[str, str, Message], ...]] = {
    # Suffix -> operators in order of preference. Bone shapes would be rendered like any other mesh, and
    # Blender's validation moves vertices that are not finite to zero: we delete them, then validate.
    ".glb": (("import_scene", "gltf", {"disable_bone_shape": True}),),
    ".gltf": (("import_scene", "gltf", {"disable_bone_shape": True}),),
    ".obj": (("wm", "obj_import", {"validate_meshes": False}),),
    ".fbx": (("import_scene", "fbx", {"use_image_search": False}), ("wm", "fbx_import", {})),
    ".stl": (("wm", "stl_import", {}),),
    ".ply": (("wm", "ply_import", {}),),
}
USABLE_SIZE = (1e-12, 1e12)
"""Beyond these the determinant of the normalising matrix leaves float32."""


def die_with_parent() -> None:
    """Ask the kernel (Linux) to kill this process with its parent, even in the middle of a render."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def read_message(requests: BinaryIO) -> Message | None:
    """Read one request; None at the end of the pipe, which means that the parent is gone."""
    header = requests.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    text_length, payload_length = HEADER.unpack(header)
    message: Message = json.loads(requests.read(text_length))
    requests.read(payload_length)
    return message


def write_message(replies: BinaryIO, message: Message, payload: bytes = b"") -> None:
    text = json.dumps(message).encode()
    replies.write(HEADER.pack(len(text), len(payload)) + text)
    replies.write(payload)
    replies.flush()


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
        self.resolution = settings["resolution"]
        sampling = settings["sampling"]
        self.painted = settings["light"] if sampling["shading"] == "painted" else None
        linear = sampling["oversampling"] != [1]
        self.picture = LinearFile() if linear else PictureFile()
        set_render_settings(self.scene, settings, self.picture.path)
        set_sampling(self.scene.cycles, sampling)
        if linear:
            render_sub_pixels(self.scene)
        self.camera = add_camera(self.scene, settings)
        self.world = add_light(self.scene, settings["light"], painted=self.painted is not None)
        self.kept = {block.as_pointer() for block in blocks()}

    def load(self, request: Message) -> tuple[Message, bytes]:
        """Import an object in place of the last one, clean, turn and normalise it, and measure it."""
        self.clear()
        path = Path(request["asset"])
        import_asset(path)
        self.scene.world, self.scene.camera = self.world, self.camera  # should an importer bring its own
        self.scene.frame_set(0)
        hide_all_but_meshes(item for item in self.scene.objects if item.as_pointer() not in self.kept)
        nonfinite = sum(delete_nonfinite_vertices(mesh) for mesh in bpy.data.meshes)
        missing = detach_missing_textures(path.parent)
        show_vertex_colours()
        if self.painted:
            paint_light(self.painted)
        triangles, size, vertices = self.normalise(request["rotation"])
        facts = {"triangles": triangles, "vertices": len(vertices), "nonfinite_vertices": nonfinite}
        reply = {"kind": "loaded", "size": size, "missing_textures": missing, **facts}
        return reply, vertices.astype("<f4").tobytes()

    def clear(self) -> None:
        """Delete everything that the set-up did not make; nothing an importer leaves can survive this."""
        bpy.data.batch_remove([block for block in blocks() if block.as_pointer() not in self.kept])

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
        triangles, vertices = evaluated_vertices()
        if not len(vertices):
            return triangles, 0.0, vertices
        low, high = vertices.min(axis=0), vertices.max(axis=0)  # (3,), (3,)
        size = float((high - low).max())
        if not USABLE_SIZE[0] <= size <= USABLE_SIZE[1]:
            return triangles, size, vertices
        root.matrix_world = Matrix.Scale(1 / size, 4) @ Matrix.Translation(Vector(-(low + high) / 2)) @ turn
        return triangles, size, evaluated_vertices()[1]

    def view(self, request: Message) -> tuple[Message, bytes]:
        """Render the pixels inside the border: as a PNG, or as linear sub-pixels."""
        pose = request["camera_to_world"]
        self.camera.matrix_world = Matrix([pose[row : row + 4] for row in (0, 4, 8, 12)])
        set_border(self.scene.render, request["border"], self.resolution, request["oversampling"])
        bpy.ops.render.render(write_still=True)
        return self.picture.take()


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
    cycles.device = "CPU"
    cycles.samples = sampling["samples"]
    cycles.seed, cycles.use_animated_seed = 0, False
    cycles.use_adaptive_sampling = False
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


def add_light(scene: Any, rig: Message, *, painted: bool) -> Any:
    """Light the scene; of painted light only the first sun is real, a point in the sky."""
    world = scene.world = bpy.data.worlds.new("world")
    world.use_nodes = True
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1.0, 1.0, 1.0, 1.0)
    background.inputs["Strength"].default_value = 0.0 if painted else rig["ambient"]
    if painted:
        world.cycles.sampling_method = "NONE"
        scene.cycles.max_bounces = scene.cycles.diffuse_bounces = scene.cycles.glossy_bounces = 0
        scene.cycles.light_sampling_threshold = 0.0
    for lamp in [sun | {"angle_deg": 0.0} for sun in real_suns(rig)] if painted else rig["lamps"]:
        scene.collection.objects.link(make_sun(lamp) if lamp["kind"] == "sun" else make_ceiling(lamp))
    return world


def real_suns(rig: Message) -> list[Message]:
    """Return the lamps of a painted rig that cast shadows: its first sun, where it has one."""
    return [lamp for lamp in rig["lamps"] if lamp["kind"] == "sun"][:1]


def paint_light(rig: Message) -> None:
    """Add to every material what the world and the lamps that are not real would reflect off it.

    The radiance of a diffuse surface of colour c and normal n is c (ambient + sum of E max(0, n l) / pi
    over suns of irradiance E + L (1 + n_z) / 2 under a ceiling of radiance L): no occlusion, no noise.
    Metals, which have no diffuse colour, reflect about as much of an even world.
    """
    for material in bpy.data.materials:
        if material.use_nodes:
            material.cycles.emission_sampling = "NONE"
            for node in [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]:
                paint_surface(material.node_tree, node, rig)
    for item in bpy.data.objects:
        # Rays that look for light would find the paint on other surfaces, and bring the noise back.
        item.visible_diffuse = item.visible_glossy = False


def paint_surface(tree: Any, surface: Any, rig: Message) -> None:
    """Put the painted light into a surface's emission, on top of what it emits by itself."""
    colour = socket_value(tree, surface.inputs["Base Color"])
    if (opacity := even_opacity(surface)) < 1.0:
        paint_glass(tree, surface, rig, colour, opacity)
        return
    own = vector_math(tree, "SCALE", socket_value(tree, surface.inputs["Emission Color"]))
    connect(tree, socket_value(tree, surface.inputs["Emission Strength"]), own.inputs["Scale"])
    lit = vector_math(tree, "SCALE", colour)
    connect(tree, painted_radiance(tree, surface, rig, real_suns(rig)), lit.inputs["Scale"])
    total = vector_math(tree, "ADD", lit.outputs[0], own.outputs[0])
    tree.links.new(total.outputs[0], surface.inputs["Emission Color"])
    for link in list(surface.inputs["Emission Strength"].links):
        tree.links.remove(link)
    surface.inputs["Emission Strength"].default_value = 1.0


def even_opacity(surface: Any) -> float:
    """Return how much of what lies behind a surface it hides, where that is the same all over: 1 hides all.

    Refracting glass has no opacity of its own: clear glass is given a quarter.
    """
    alpha, transmission = surface.inputs["Alpha"], surface.inputs["Transmission Weight"]
    opacity = 1.0 if alpha.links else float(alpha.default_value)
    return opacity if transmission.links else opacity * (1.0 - 0.75 * float(transmission.default_value))


def paint_glass(tree: Any, surface: Any, rig: Message, colour: Any, opacity: float) -> None:
    """Replace an evenly see-through surface by paint and transparency alone, its sun painted as well.

    A path through a surface that also scatters light is chosen by chance, which is noise.
    """
    lit = vector_math(tree, "SCALE", colour)
    connect(tree, painted_radiance(tree, surface, rig, []), lit.inputs["Scale"])
    paint, clear = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeBsdfTransparent")
    tree.links.new(lit.outputs[0], paint.inputs["Color"])
    mix = tree.nodes.new("ShaderNodeMixShader")
    mix.inputs["Fac"].default_value = opacity
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(paint.outputs[0], mix.inputs[2])
    for link in list(surface.outputs[0].links):
        tree.links.new(mix.outputs[0], link.to_socket)


def painted_radiance(tree: Any, surface: Any, rig: Message, real: list[Message]) -> Any:
    """Return a socket with the radiance that a white surface reflects of the lamps that are not real."""
    linked = surface.inputs["Normal"].links
    normal = linked[0].from_socket if linked else tree.nodes.new("ShaderNodeNewGeometry").outputs["Normal"]
    total: Any = rig["ambient"]
    for lamp in [lamp for lamp in rig["lamps"] if lamp not in real]:
        sun = lamp["kind"] == "sun"
        towards = Vector(lamp["towards"] if sun else (0.0, 0.0, 1.0)).normalized()
        cosine = vector_math(tree, "DOT_PRODUCT", normal, tuple(towards)).outputs["Value"]
        if sun:
            shade = math(tree, "MULTIPLY", math(tree, "MAXIMUM", cosine, 0.0), lamp["irradiance"] / np.pi)
        else:
            radiance = lamp["power_w"] / (np.pi * lamp["side"] ** 2)
            shade = math(tree, "MULTIPLY", math(tree, "ADD", cosine, 1.0), radiance / 2)
        total = math(tree, "ADD", shade, total)
    return total


def socket_value(tree: Any, socket: Any) -> Any:
    """Return what feeds an input: the socket linked to it, or its own constant."""
    if socket.links:
        return socket.links[0].from_socket
    value = socket.default_value
    return float(value) if isinstance(value, float) else tuple(value)[:3]


def vector_math(tree: Any, operation: str, *values: Any) -> Any:
    node = tree.nodes.new("ShaderNodeVectorMath")
    node.operation = operation
    for value, socket in zip(values, node.inputs, strict=False):
        connect(tree, value, socket)
    return node


def math(tree: Any, operation: str, *values: Any) -> Any:
    node = tree.nodes.new("ShaderNodeMath")
    node.operation = operation
    for value, socket in zip(values, node.inputs, strict=False):
        connect(tree, value, socket)
    return node.outputs[0]


def connect(tree: Any, value: Any, socket: Any) -> None:
    """Feed an input from another node's output, or by a constant."""
    if isinstance(value, bpy.types.NodeSocket):
        tree.links.new(value, socket)
    else:
        socket.default_value = value


def make_sun(lamp: Message) -> Any:
    light = bpy.data.lights.new("sun", "SUN")
    light.energy, light.angle = lamp["irradiance"], np.radians(lamp["angle_deg"])
    sun = bpy.data.objects.new("sun", light)
    sun.rotation_mode = "QUATERNION"
    sun.rotation_quaternion = Vector(lamp["towards"]).to_track_quat("Z", "Y")  # a lamp shines along its -Z
    return sun


def make_ceiling(lamp: Message) -> Any:
    light = bpy.data.lights.new("ceiling", "AREA")
    light.shape, light.size, light.energy = "SQUARE", lamp["side"], lamp["power_w"]
    ceiling = bpy.data.objects.new("ceiling", light)
    ceiling.location.z = lamp["height"]
    ceiling.visible_camera = False
    return ceiling


def import_asset(path: Path) -> None:
    """Run the importer of the file's suffix; a RuntimeError carries what it reported."""
    for module, name, wanted in IMPORTERS[path.suffix.lower()]:
        operator = getattr(getattr(bpy.ops, module), name)
        if name not in dir(getattr(bpy.ops, module)):
            continue
        known = operator.get_rna_type().properties.keys()
        options = {option: value for option, value in wanted.items() if option in known}
        if operator(filepath=str(path), **options) != {"FINISHED"}:
            raise RuntimeError(f"Blender's importer {name} gave up on {path.name}")
        return
    raise RuntimeError(f"this Blender has no importer for {path.suffix}")


def hide_all_but_meshes(imported: Iterable[Any]) -> None:
    """Keep the asset's own lamps, curves and volumes out of the picture.

    They are hidden rather than deleted: a mesh may hang on one of them and would lose its place.
    """
    for item in imported:
        if item.type not in {"MESH", "EMPTY", "ARMATURE"}:
            item.hide_render = True


def delete_nonfinite_vertices(mesh: Any) -> int:
    """Delete vertices with NaN or infinite coordinates and the faces on them; return how many."""
    bad = np.flatnonzero(~np.isfinite(coordinates(mesh)).all(axis=1))
    if len(bad):
        editable = bmesh.new()
        editable.from_mesh(mesh)
        editable.verts.ensure_lookup_table()
        bmesh.ops.delete(editable, geom=[editable.verts[index] for index in bad], context="VERTS")
        editable.to_mesh(mesh)
        editable.free()
    mesh.validate()
    return len(bad)


def coordinates(mesh: Any) -> NDArray[np.float32]:
    flat = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    mesh.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3)  # (N, 3)


def evaluated_vertices() -> tuple[int, NDArray[np.float64]]:
    """Count the triangles and gather the (N, 3) world vertices of everything that will be rendered.

    Modifiers, armatures and instances count; vertices that belong to no face do not.
    """
    bpy.context.view_layer.update()
    triangles, parts = 0, [np.empty((0, 3))]
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        item = instance.object
        if item.type == "MESH" and not item.hide_render:
            mesh, matrix = item.data, np.array(instance.matrix_world)
            corners = np.empty(len(mesh.loops), dtype=np.int32)
            mesh.loops.foreach_get("vertex_index", corners)
            used = np.zeros(len(mesh.vertices), dtype=bool)
            used[corners] = True
            parts.append(coordinates(mesh)[used] @ matrix[:3, :3].T + matrix[:3, 3])
            triangles += len(corners) - 2 * len(mesh.polygons)
    return triangles, np.concatenate(parts)


def detach_missing_textures(folder: Path) -> list[str]:
    """Forget textures that cannot be read, or that lie outside the asset's folder; return their names.

    Blender would paint the object magenta; without the texture it has the material's plain colour.
    """
    files = [image for image in bpy.data.images if image.type == "IMAGE"]
    missing = {image.name for image in files if not is_readable(image, folder)}
    for material in bpy.data.materials:
        if material.use_nodes:
            nodes = material.node_tree.nodes
            for node in [node for node in nodes if node.type == "TEX_IMAGE" and names(node.image, missing)]:
                nodes.remove(node)
    return sorted(missing)


def names(image: Any, missing: set[str]) -> bool:
    return image is not None and image.name in missing


def is_readable(image: Any, folder: Path) -> bool:
    if not image.packed_file:
        path = Path(bpy.path.abspath(image.filepath)).resolve()
        if not path.is_relative_to(folder.resolve()):
            return False
    readable = image.size[0] > 0  # reading the size decodes the file
    image.buffers_free()
    return bool(readable)


def show_vertex_colours() -> None:
    """Give meshes that have colours but no material (PLY scans) one that shows the colours."""
    for mesh in bpy.data.meshes:
        if mesh.color_attributes and not any(mesh.materials):
            material = bpy.data.materials.new("vertex colours")
            material.use_nodes = True
            nodes, links = material.node_tree.nodes, material.node_tree.links
            colour = nodes.new("ShaderNodeVertexColor")
            colour.layer_name = mesh.color_attributes[0].name
            surface = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
            links.new(colour.outputs["Color"], surface.inputs["Base Color"])
            mesh.materials.clear()
            mesh.materials.append(material)


def set_border(render: Any, border: list[int], resolution: int, oversampling: int) -> None:
    """Restrict rendering to whole pixels; Blender counts y from below and cuts fractions off."""
    render.resolution_x = render.resolution_y = resolution * oversampling
    x_min, y_min, x_max, y_max = border
    inside = 0.25 / render.resolution_x  # keeps float32 rounding on the right side of the cut
    render.border_min_x, render.border_max_x = x_min / resolution + inside, x_max / resolution + inside
    render.border_min_y = (resolution - y_max) / resolution + inside
    render.border_max_y = (resolution - y_min) / resolution + inside


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until the parent closes the pipe."""
    replies.write(PREAMBLE)
    write_message(replies, {"kind": "hello", "versions": {"blender": bpy.app.version_string}})
    studio: Studio | None = None
    while (request := read_message(requests)) is not None:
        try:
            if request["kind"] == "setup":
                studio, reply, payload = Studio(request), {"kind": "done"}, b""
            else:
                assert studio is not None, "the parent sends setup first"
                reply, payload = studio.load(request) if request["kind"] == "load" else studio.view(request)
        # Importers are Python code by many hands and raise anything at all: whatever it is, it is the
        # parent's to judge, and this child goes on.
        except Exception as error:  # noqa: BLE001
            reply = {"kind": "failed", "message": str(error).strip(), "traceback": traceback.format_exc()}
            payload = b""
        write_message(replies, reply, payload)


def main() -> None:
    die_with_parent()
    faulthandler.enable()
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    serve(requests, os.fdopen(REPLIES_FD, "wb"))
    sys.stderr.flush()
    os._exit(0)  # Blender's own exit frees gigabytes in order, for nobody


if __name__ == "__main__":
    main()
