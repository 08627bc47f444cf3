"""The lamps and the world around the object."""

from typing import Any

import bpy
import numpy as np
from mathutils import Vector

Rig = dict[str, Any]
"""A `render.lights.LightRig`, or one of its lamps, as JSON carries it."""


def add_light(scene: Any, rig: Rig, *, painted: bool) -> Any:
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


def real_suns(rig: Rig) -> list[Rig]:
    """Return the lamps of a painted rig that cast shadows: its first sun, where it has one."""
    return [lamp for lamp in rig["lamps"] if lamp["kind"] == "sun"][:1]


def make_sun(lamp: Rig) -> Any:
    light = bpy.data.lights.new("sun", "SUN")
    light.energy, light.angle = lamp["irradiance"], np.radians(lamp["angle_deg"])
    sun = bpy.data.objects.new("sun", light)
    sun.rotation_mode = "QUATERNION"
    sun.rotation_quaternion = Vector(lamp["towards"]).to_track_quat("Z", "Y")  # a lamp shines along its -Z
    return sun


def make_ceiling(lamp: Rig) -> Any:
    light = bpy.data.lights.new("ceiling", "AREA")
    light.shape, light.size, light.energy = "SQUARE", lamp["side"], lamp["power_w"]
    ceiling = bpy.data.objects.new("ceiling", light)
    ceiling.location.z = lamp["height"]
    ceiling.visible_camera = False
    return ceiling
