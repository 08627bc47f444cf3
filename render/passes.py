"""The depth and normals of a view: read from the renderer's EXR, and encoded as PNG files."""

import io
import tempfile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mvcap.records import Extras
from render.job import Passes

DEPTH_STEPS = 65535
FARTHEST = 1.0
"""Behind the origin, in object units: the unit cube's corners lie at 0.87."""
NOTHING = 1e9
"""Cycles gives what nothing is hit by a depth of 1e10."""


def read_passes(exr: bytes) -> Passes:
    """Read what the child rendered."""
    import OpenEXR

    with tempfile.NamedTemporaryFile(suffix=".exr") as file:
        file.write(exr)
        file.flush()
        [part] = OpenEXR.File(file.name, separate_channels=True).parts
    channels = {name.partition(".")[2]: channel.pixels for name, channel in part.channels.items()}
    depth = channels["Depth.Z"].astype(np.float32)
    normals = np.stack([channels[f"Normal.{axis}"] for axis in "XYZ"], axis=-1).astype(np.float32)
    hit = depth < NOTHING
    return Passes(np.where(hit, depth, np.inf).astype(np.float32), np.where(hit[..., None], normals, 0))


def encode_extras(
    names: tuple[str, ...], rgba: NDArray[np.uint8], passes: Passes | None, distance: float
) -> Extras:
    """Encode what was asked for of `mask`, `depth` and `normals`, each as a PNG.

    Args:
        rgba: (H, W, 4) the view's picture; its alpha is the mask, soft edges included.
        passes: needed for all but the mask.
        distance: of the camera from the origin, in object units; it decides the depth's scale.
    """
    scale = (distance + FARTHEST) / DEPTH_STEPS
    return Extras(
        mask=png(rgba[..., 3]) if "mask" in names else None,
        depth=png(depth_steps(passes.depth, scale)) if "depth" in names and passes else None,
        depth_scale=scale if "depth" in names and passes else None,
        normals=png(normal_colours(passes.normals)) if "normals" in names and passes else None,
    )


def depth_steps(depth: NDArray[np.float32], scale: float) -> NDArray[np.uint16]:
    """Quantise a depth to whole steps of `scale`; 0 where nothing is."""
    steps = np.where(np.isfinite(depth), depth / scale, 0.0)
    quantised: NDArray[np.uint16] = np.clip(np.rint(steps), 0, DEPTH_STEPS).astype(np.uint16)
    return quantised


def normal_colours(normals: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Map each component from [-1, 1] to 0 to 255; black where nothing is."""
    colours = np.rint((np.clip(normals, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
    return np.where(normals.any(axis=-1, keepdims=True), colours, np.uint8(0))


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
    return file.getvalue()
