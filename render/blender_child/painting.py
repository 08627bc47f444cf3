"""Painted light: what the lamps would do to each surface, put into its own colour, free of noise."""

from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from render.blender_child.lighting import Rig, real_suns


def paint_light(rig: Rig) -> None:
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
    for item in [item for item in bpy.data.objects if item.type == "MESH"]:
        # Rays that look for light would find the paint on other surfaces, and bring the noise back. The
        # sun is an object too, and lights nothing where it is invisible to them.
        item.visible_diffuse = item.visible_glossy = False


def paint_surface(tree: Any, surface: Any, rig: Rig) -> None:
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


def has_glass() -> bool:
    """Tell whether any surface is evenly see-through."""
    trees = [material.node_tree for material in bpy.data.materials if material.use_nodes]
    surfaces = [node for tree in trees for node in tree.nodes if node.type == "BSDF_PRINCIPLED"]
    return any(even_opacity(surface) < 1.0 for surface in surfaces)


def paint_glass(tree: Any, surface: Any, rig: Rig, colour: Any, opacity: float) -> None:
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


def painted_radiance(tree: Any, surface: Any, rig: Rig, real: list[Rig]) -> Any:
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
