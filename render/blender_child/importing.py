"""Bring an asset into the scene, its textures and materials made sound."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from render.blender_child.usd_references import check_references

USD_OPTIONS = {
    # A texture of the same name as an earlier object's must not give way to that one.
    "tex_name_collision_mode": "OVERWRITE",
    "import_textures_mode": "IMPORT_PACK",
    "import_volumes": False,
    "import_points": False,
    "set_frame_range": False,
    "create_world_material": False,
    "attr_import_mode": "NONE",
}
IMPORTERS: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    # Suffix -> operators in order of preference. Bone shapes would be rendered like any other mesh, and
    # Blender's validation moves vertices that are not finite to zero: we delete them, then validate.
    ".glb": (("import_scene", "gltf", {"disable_bone_shape": True}),),
    ".gltf": (("import_scene", "gltf", {"disable_bone_shape": True}),),
    ".obj": (("wm", "obj_import", {"validate_meshes": False}),),
    ".fbx": (("import_scene", "fbx", {"use_image_search": False}), ("wm", "fbx_import", {})),
    ".stl": (("wm", "stl_import", {}),),
    ".ply": (("wm", "ply_import", {}),),
    **dict.fromkeys((".usd", ".usda", ".usdc", ".usdz"), (("wm", "usd_import", USD_OPTIONS),)),
}


BLACK_PAINT = 0.04
"""Albedo; as much as a smooth surface of refractive index 1.5 reflects."""
DEFAULT_GREY = 0.8
"""Base colour of a new material, and of what the importers make where a file says nothing."""


LARGEST_CUT_OUT = 2**24
"""Pixels of a texture whose alpha is looked at: 4096 × 4096, for which Blender takes 256 MB."""
OPAQUE = 0.98


class PlainNames:
    """Names that Blender does not misread: it takes a backslash in a folder's name for a slash.

    It then finds the model, but no texture beside it. The kernel's own name for a folder that is open leads
    there as well, and leaves nothing on the disk. It holds until the next one is asked for, since Blender
    reads textures only when it renders.
    """

    def __init__(self) -> None:
        self._open: int | None = None

    def name(self, path: Path) -> Path:
        if self._open is not None:
            os.close(self._open)
            self._open = None
        if "\\" not in str(path.parent) or sys.platform != "linux":
            return path
        self._open = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        return Path(f"/proc/self/fd/{self._open}") / path.name


def import_asset(path: Path, plain: Path) -> None:
    """Run the importer of the file's suffix; a RuntimeError carries what it reported.

    Args:
        plain: the same file under a name of `PlainNames`.
    """
    if IMPORTERS[path.suffix.lower()][0][1] == "usd_import":
        check_references(path)
    for module, name, wanted in IMPORTERS[path.suffix.lower()]:
        operator = getattr(getattr(bpy.ops, module), name)
        if name not in dir(getattr(bpy.ops, module)):
            continue
        known = operator.get_rna_type().properties.keys()
        options = {option: value for option, value in wanted.items() if option in known}
        if operator(filepath=str(plain), **options) != {"FINISHED"}:
            raise RuntimeError(f"Blender's importer {name} gave up on {path.name}")
        return
    raise RuntimeError(f"this Blender has no importer for {path.suffix}")


def hide_all_but_meshes(imported: Iterable[Any]) -> None:
    """Keep the asset's own lamps, curves and volumes out of the picture, and meshes that it says are hidden.

    Those of an FBX file would be hidden in Blender's viewport alone: rendered, but not measured.
    They are hidden rather than deleted: a mesh may hang on one of them and would lose its place.
    """
    for item in imported:
        if item.hide_viewport or item.type not in {"MESH", "EMPTY", "ARMATURE"}:
            item.hide_render = True


def detach_missing_textures(folder: Path) -> tuple[int, list[str]]:
    """Forget textures that cannot be read, or that lie outside the asset's folder.

    Returns:
        How many are left, and the names of those that are not.

    Blender would paint the object magenta; without the texture it has the material's plain colour.
    """
    files = [image for image in bpy.data.images if image.type == "IMAGE"]
    missing = {image.name for image in files if not is_readable(image, folder)}
    for material in bpy.data.materials:
        if material.use_nodes:
            nodes = material.node_tree.nodes
            for node in [node for node in nodes if node.type == "TEX_IMAGE" and names(node.image, missing)]:
                nodes.remove(node)
    return len(files) - len(missing), sorted(missing)


def names(image: Any, missing: set[str]) -> bool:
    return image is not None and image.name in missing


def is_readable(image: Any, folder: Path) -> bool:
    if not image.packed_file:
        path = Path(os.path.realpath(bpy.path.abspath(image.filepath)))  # a link may lead to itself
        if not path.is_relative_to(folder.resolve()):
            return False
    readable = image.size[0] > 0  # reading the size decodes the file
    image.buffers_free()
    return bool(readable)


def cut_out_by_textures() -> None:
    """Let the alpha of OBJ textures cut out leaves and nets, as the viewers do that such files are made for.

    Blender's importer takes alpha from `map_d` alone, and would show the squares on which leaves are drawn. A
    picture whose alpha is the same all over, be it zero, means nothing by it: its colours count as they are.
    """
    for material in [material for material in bpy.data.materials if material.use_nodes]:
        for node in [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]:
            colour, alpha = node.inputs["Base Color"], node.inputs["Alpha"]
            if colour.links and not alpha.links and alpha.default_value == 1.0:
                texture = colour.links[0].from_node
                if texture.type == "TEX_IMAGE" and cuts_out(texture.image):
                    material.node_tree.links.new(texture.outputs["Alpha"], alpha)
                elif texture.type == "TEX_IMAGE":
                    texture.image.alpha_mode = "CHANNEL_PACKED"


def cuts_out(image: Any) -> bool:
    """Tell whether some of a picture is see-through and some is not."""
    width, height = image.size
    if image.channels != 4 or width * height > LARGEST_CUT_OUT:
        return False
    pixels = np.empty(width * height * 4, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    image.buffers_free()
    alpha = pixels[3::4]
    return bool(alpha.min() < OPAQUE <= alpha.max())


def give_materials() -> None:
    """Give every mesh without a material one that shows its colours (PLY scans), or else is plain grey.

    Blender renders a face without a material grey as well, but painted light needs one to be painted on.
    """
    for mesh in bpy.data.meshes:
        if not any(mesh.materials):
            mesh.materials.clear()
            mesh.materials.append(make_material(mesh.color_attributes[:1]))
        for slot, material in enumerate(mesh.materials):
            if material is None:
                mesh.materials[slot] = make_material([])


def lift_blackest() -> None:
    """Let nothing be darker than black paint, so that its form can be seen.

    OBJ files describe pianos and iron railings as reflecting nothing at all (their refractive index of 1
    takes the gloss as well), and every view of them would be a silhouette: 7 of 820 furniture models, seen
    2026-11-24.
    """
    for material in [material for material in bpy.data.materials if material.use_nodes]:
        for node in [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]:
            colour = node.inputs["Base Color"]
            if not colour.links and max(colour.default_value[:3]) < BLACK_PAINT:
                colour.default_value = (BLACK_PAINT, BLACK_PAINT, BLACK_PAINT, 1.0)


def has_colour() -> bool:
    """Tell whether anything gives the object another colour than the grey that Blender gives by itself."""
    used = {material for mesh in bpy.data.meshes for material in mesh.materials if material}
    return any(not is_plain(material) for material in used)


def is_plain(material: Any) -> bool:
    if material.node_tree is None:
        return all(abs(channel - DEFAULT_GREY) < 1e-3 for channel in material.diffuse_color[:3])
    surfaces = [node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED"]
    colours = [surface.inputs["Base Color"] for surface in surfaces]
    return bool(colours) and all(
        not colour.links and all(abs(channel - DEFAULT_GREY) < 1e-3 for channel in colour.default_value[:3])
        for colour in colours
    )


def make_material(colours: Any) -> Any:
    material = bpy.data.materials.new("made here")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    for attribute in colours:
        colour = nodes.new("ShaderNodeVertexColor")
        colour.layer_name = attribute.name
        surface = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
        links.new(colour.outputs["Color"], surface.inputs["Base Color"])
    return material
