"""What a picture shows besides its colours: the depth and the normal at the centre of each pixel."""

import os
from typing import Any

import bpy

Message = dict[str, Any]


class PassScene:
    """A second scene around the same object and camera, so that the pictures of the first stay what they are.

    It is rendered with one ray through the centre of each pixel, without light.
    """

    def __init__(self, camera: Any) -> None:
        self.scene = bpy.data.scenes.new("passes")
        self.scene.camera = camera
        self.descriptor = os.memfd_create("passes")
        set_render_settings(self.scene.render, f"/proc/self/fd/{self.descriptor}")
        layer = self.scene.view_layers[0]
        layer.use_pass_z = layer.use_pass_normal = True
        cycles = self.scene.cycles
        cycles.device, cycles.samples, cycles.use_denoising = "CPU", 1, False
        cycles.use_adaptive_sampling = False
        cycles.max_bounces = 0
        cycles.transparent_max_bounces = 64  # what is seen through must not end at a leaf's clear corner
        cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01

    def link(self, items: Any) -> None:
        """Put the objects of the first scene into this one; what is deleted there goes from here as well."""
        for item in items:
            if item.type not in {"LIGHT", "CAMERA"} and item.name not in self.scene.collection.objects:
                self.scene.collection.objects.link(item)

    def render(self) -> tuple[Message, bytes]:
        bpy.ops.render.render(write_still=True, scene=self.scene.name)
        length = os.fstat(self.descriptor).st_size
        content = os.pread(self.descriptor, length, 0)
        os.ftruncate(self.descriptor, 0)
        return {"kind": "passes"}, content


def set_render_settings(render: Any, path: str) -> None:
    render.engine = "CYCLES"
    render.resolution_percentage = 100
    render.film_transparent = True
    render.use_border = render.use_crop_to_border = True
    render.use_persistent_data = True
    render.use_compositing = render.use_sequencer = False
    render.filepath, render.use_file_extension = path, False
    render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    render.image_settings.color_depth = "32"
    render.image_settings.exr_codec = "ZIP"
