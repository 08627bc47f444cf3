"""The way of objaverse-rendering, written anew from its described settings; runs inside Blender.

A process for each object: Cycles on the CPU, 32 samples, the denoiser's defaults, the full frame, a call of
`render` for each view, PNG files. Poses, lights and normalisation are the job's own, so that only the way of
rendering differs; and the alpha of textures counts, so that it draws the same objects. Reads a job as JSON:
asset, resolution, lens_mm, sensor_mm, poses, lamps, ambient, samples, denoised, folder.
"""

import json
import math
import sys
from pathlib import Path

import bpy
from mathutils import Matrix, Vector

job = json.loads(Path(sys.argv[-1]).read_text())
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.engine = "CYCLES"
scene.cycles.device = "CPU"
scene.cycles.samples = job["samples"]
scene.cycles.use_adaptive_sampling = False
scene.cycles.use_denoising = job["denoised"]
scene.cycles.diffuse_bounces = scene.cycles.glossy_bounces = 1
scene.cycles.transparent_max_bounces = scene.cycles.transmission_bounces = 3
scene.cycles.filter_width = 0.01
scene.render.film_transparent = True
scene.render.resolution_x = scene.render.resolution_y = job["resolution"]
scene.render.resolution_percentage = 100
scene.view_settings.view_transform = "Standard"

world = scene.world = bpy.data.worlds.new("world")
world.use_nodes = True
world.node_tree.nodes["Background"].inputs["Strength"].default_value = job["ambient"]
world.node_tree.nodes["Background"].inputs["Color"].default_value = (1, 1, 1, 1)
for lamp in job["lamps"]:
    light = bpy.data.lights.new("sun", "SUN")
    light.energy, light.angle = lamp["irradiance"], math.radians(lamp["angle_deg"])
    sun = bpy.data.objects.new("sun", light)
    sun.rotation_mode = "QUATERNION"
    sun.rotation_quaternion = Vector(lamp["towards"]).to_track_quat("Z", "Y")
    scene.collection.objects.link(sun)

bpy.ops.wm.obj_import(filepath=job["asset"])
for material in bpy.data.materials:
    for node in material.node_tree.nodes if material.use_nodes else ():
        if node.type == "BSDF_PRINCIPLED" and node.inputs["Base Color"].links:
            texture = node.inputs["Base Color"].links[0].from_node
            if texture.type == "TEX_IMAGE" and texture.image.channels == 4:
                material.node_tree.links.new(texture.outputs["Alpha"], node.inputs["Alpha"])
root = bpy.data.objects.new("root", None)
scene.collection.objects.link(root)
for item in [item for item in scene.objects if item.type == "MESH"]:
    item.parent = root
bpy.context.view_layer.update()
corners = [
    item.matrix_world @ Vector(c) for item in scene.objects if item.type == "MESH" for c in item.bound_box
]
low = Vector(min(corner[axis] for corner in corners) for axis in range(3))
high = Vector(max(corner[axis] for corner in corners) for axis in range(3))
root.matrix_world = Matrix.Scale(1 / max(high - low), 4) @ Matrix.Translation(-(low + high) / 2)

lens = bpy.data.cameras.new("camera")
lens.lens, lens.sensor_width = job["lens_mm"], job["sensor_mm"]
camera = scene.camera = bpy.data.objects.new("camera", lens)
scene.collection.objects.link(camera)
for index, pose in enumerate(job["poses"]):
    camera.matrix_world = Matrix([pose[row : row + 4] for row in (0, 4, 8, 12)])
    scene.render.filepath = str(Path(job["folder"]) / f"{index:03d}.png")
    bpy.ops.render.render(write_still=True)
