"""Draw `cameras.svg`, the picture of the camera convention, from the code that places the cameras.

python docs/draw_cameras.py > docs/cameras.svg
"""

import xml.etree.ElementTree as ET
from itertools import product

import numpy as np
from numpy.typing import NDArray

from render.cameras import Intrinsics, Viewpoint, look_at

WIDTH, HEIGHT, SCALE = 760, 540, 215
"""Pixels; of the picture, and for a unit of the world."""
CENTRE = np.array([WIDTH / 2 - 10, HEIGHT - 175])
SHOWN_FROM = Viewpoint(azimuth_deg=-30, elevation_deg=22)
AZIMUTH_DEG, ELEVATION_DEG, DISTANCE = 50.0, 35.0, 1.5
"""Of the camera that is drawn."""
RED, GREEN, BLUE, GREY, INK = "#c0392b", "#1e8449", "#2464ad", "#8a8f98", "#30343b"


def projected(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Project points of the world, (N, 3), to the picture without perspective: (N, 2)."""
    right, up = look_at(SHOWN_FROM, 1.0)[:3, :2].T  # (3,), (3,)
    flat = np.stack([points @ right, -(points @ up)], axis=1)  # (N, 2)
    return CENTRE + SCALE * flat


def on_sphere(azimuth_deg: float, elevation_deg: float, distance: float = DISTANCE) -> NDArray[np.float64]:
    return look_at(Viewpoint(azimuth_deg, elevation_deg), distance)[:3, 3]


class Drawing:
    """An SVG picture that grows line by line."""

    def __init__(self) -> None:
        self.root = ET.Element(
            "svg",
            {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img"},
        )
        ET.SubElement(self.root, "title").text = "World axes, azimuth, elevation and a camera's axes"
        ET.SubElement(self.root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})

    def path(
        self, points: NDArray[np.float64], colour: str, width: float = 1.5, dashed: bool = False
    ) -> None:
        corners = " L".join(f"{x:.1f} {y:.1f}" for x, y in projected(points))
        style = {"fill": "none", "stroke": colour, "stroke-width": str(width), "stroke-linejoin": "round"}
        ET.SubElement(
            self.root,
            "path",
            {"d": f"M{corners}", **style, **({"stroke-dasharray": "5 4"} if dashed else {})},
        )

    def arrow(self, start: NDArray[np.float64], end: NDArray[np.float64], colour: str, words: str) -> None:
        self.path(np.stack([start, end]), colour, 2.5)
        tail, tip = projected(np.stack([start, end]))
        along = (tip - tail) / np.linalg.norm(tip - tail)
        across = np.array([-along[1], along[0]])
        corners = [tip + 9 * along, tip + 4.5 * across, tip - 4.5 * across]
        ET.SubElement(
            self.root, "polygon", {"points": " ".join(f"{x:.1f},{y:.1f}" for x, y in corners), "fill": colour}
        )
        self.words(tip + 22 * along, words, colour)

    def words(self, at: NDArray[np.float64], words: str, colour: str = INK) -> None:
        place = {"x": f"{at[0]:.1f}", "y": f"{at[1] + 4:.1f}", "text-anchor": "middle", "fill": colour}
        font = {"font-family": "Helvetica, Arial, sans-serif", "font-size": "14"}
        ET.SubElement(self.root, "text", {**place, **font}).text = words


def cube_edges() -> list[NDArray[np.float64]]:
    corners = np.array(list(product((-0.5, 0.5), repeat=3)))  # (8, 3)
    return [
        np.stack([first, second])
        for index, first in enumerate(corners)
        for second in corners[index + 1 :]
        if np.sum(first != second) == 1
    ]


def draw() -> str:
    """Draw the unit cube, the world's axes, two angles and a camera with its frustum."""
    drawing = Drawing()
    origin = np.zeros(3)
    for edge in cube_edges():
        drawing.path(edge, GREY, 1)
    around = np.linspace(0, 360, 73)
    drawing.path(np.array([on_sphere(azimuth, 0) for azimuth in around]), GREY, 1, dashed=True)
    upwards = np.linspace(0, 180, 37)
    drawing.path(
        np.array([np.array([np.cos(a), 0, np.sin(a)]) * DISTANCE for a in np.radians(upwards)]),
        *(GREY, 1, True),
    )
    for axis, colour, words in zip(np.eye(3), (RED, GREEN, BLUE), ("+X", "+Y", "+Z, up"), strict=True):
        drawing.arrow(origin, axis * 1.05, colour, words)

    pose = look_at(Viewpoint(AZIMUTH_DEG, ELEVATION_DEG), DISTANCE)
    place = pose[:3, 3]
    foot = on_sphere(AZIMUTH_DEG, 0)
    drawing.path(np.stack([origin, foot]), INK, 1, dashed=True)
    drawing.path(np.array([on_sphere(a, 0, 0.75) for a in np.linspace(0, AZIMUTH_DEG, 20)]), INK, 2)
    drawing.path(np.array([on_sphere(AZIMUTH_DEG, e) for e in np.linspace(0, ELEVATION_DEG, 20)]), INK, 2)
    drawing.path(np.stack([origin, place]), INK, 1, dashed=True)
    drawing.words(projected(on_sphere(AZIMUTH_DEG / 2, 0, 0.95)[None])[0] + [4, 6], "azimuth")
    drawing.words(projected(on_sphere(AZIMUTH_DEG, ELEVATION_DEG / 2)[None])[0] + [40, 0], "elevation")
    drawing.words(projected(0.62 * place[None])[0] + [0, -12], "distance")

    tangent = Intrinsics.from_lens(lens_mm=35, sensor_mm=32, resolution=512).tan_half_fov
    depth = 0.3
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    window = np.column_stack([square * tangent * depth, np.full(5, -depth)])  # (5, 3), camera's frame
    corners = window @ pose[:3, :3].T + place  # (5, 3), world
    drawing.path(corners, INK, 1.2)
    for corner in corners[:4]:
        drawing.path(np.stack([place, corner]), INK, 0.8)
    axes = zip(pose[:3, :3].T, (RED, GREEN, BLUE), ("x", "y", "z"), strict=True)
    for axis, colour, words in axes:
        drawing.arrow(place, place + 0.32 * axis, colour, words)
    ET.indent(drawing.root)
    return ET.tostring(drawing.root, encoding="unicode")


if __name__ == "__main__":
    print(draw())
