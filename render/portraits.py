"""Four small pictures of an object from fixed sides, by which its near-duplicates are recognised. Pure.

The views of a dataset cannot show that two objects look alike, since each object has viewpoints of its own.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from mvcap.records import Camera
from render.cameras import Floats, Intrinsics, Viewpoint, fitted_camera

VIEWPOINTS: Final = tuple(Viewpoint(45.0 + 90.0 * turn, 30.0) for turn in range(4))
"""Two sides and the top of a box each."""
INTRINSICS: Final = Intrinsics.from_lens(lens_mm=35.0, sensor_mm=32.0, resolution=64)
"""Of the default cameras, whatever a dataset's own are."""
DISTANCE: Final = 1.5
MARGIN: Final = 0.04
CELLS: Final = 8
"""Along a side: a portrait is 4 x 8 x 8 cells of 4 bytes, a kilobyte for each object."""


def portrait_cameras(vertices: Floats) -> list[Camera]:
    """Place the cameras around an object's (N, 3) vertices, farther away where it would be cut off."""
    return [
        fitted_camera(viewpoint, vertices, INTRINSICS, distance=DISTANCE, margin=MARGIN)
        for viewpoint in VIEWPOINTS
    ]


def make_portrait(pictures: list[NDArray[np.uint8]]) -> bytes:
    """Average pictures from `VIEWPOINTS`, (64, 64, 4) with straight alpha, over their cells.

    Returns:
        (4, 8, 8, 4) bytes: red, green and blue, each times alpha, and alpha.
    """
    rgba = np.stack(pictures).astype(np.float32)  # (4, 64, 64, 4)
    rgba[..., :3] *= rgba[..., 3:] / 255
    size = rgba.shape[1] // CELLS
    cells = rgba.reshape(len(rgba), CELLS, size, CELLS, size, 4).mean(axis=(2, 4))  # (4, 8, 8, 4)
    return bytes(np.rint(cells).astype(np.uint8))
