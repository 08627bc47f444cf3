"""Accuracy by viewing angle: a table of azimuth by elevation, and its picture."""

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

AZIMUTH_STEP_DEG: Final = 30
ELEVATION_STEP_DEG: Final = 15
FEW: Final = 5
"""A cell with fewer pictures is drawn hatched: its figure says little."""


@dataclass(frozen=True, slots=True)
class AngleTable:
    """Accuracy in cells of 30 degrees of azimuth (columns) and 15 of elevation (rows, from below)."""

    lowest_deg: int
    """Elevation at which the first row begins."""
    accuracy: NDArray[np.float64]
    """(E, A) in [0, 1]; NaN where there is no picture."""
    pictures: NDArray[np.int64]
    """(E, A)."""

    def to_json(self) -> dict[str, Any]:
        rows = [[None if np.isnan(cell) else float(cell) for cell in row] for row in self.accuracy]
        return {
            "azimuth_step_deg": AZIMUTH_STEP_DEG,
            "elevation_step_deg": ELEVATION_STEP_DEG,
            "lowest_elevation_deg": self.lowest_deg,
            "accuracy": rows,
            "pictures": self.pictures.tolist(),
        }


def angle_table(
    right: NDArray[np.bool_], azimuth_deg: NDArray[np.float32], elevation_deg: NDArray[np.float32]
) -> AngleTable | None:
    """Count by angle; None where no picture's angles are known.

    Args:
        right: (P,).
        azimuth_deg: (P,) any angle, NaN where unknown.
        elevation_deg: (P,) in [-90, 90].
    """
    known = ~(np.isnan(azimuth_deg) | np.isnan(elevation_deg))
    if not known.any():
        return None
    columns = (azimuth_deg[known] % 360 // AZIMUTH_STEP_DEG).astype(int) % (360 // AZIMUTH_STEP_DEG)
    bands = np.minimum(elevation_deg[known], 89.999) // ELEVATION_STEP_DEG
    lowest = int(min(bands.min(), 0))
    rows = (bands - lowest).astype(int)
    shape = (int(90 / ELEVATION_STEP_DEG) - lowest, 360 // AZIMUTH_STEP_DEG)
    cell = rows * shape[1] + columns
    pictures = np.bincount(cell, minlength=shape[0] * shape[1])
    hits = np.bincount(cell, weights=right[known], minlength=shape[0] * shape[1])
    with np.errstate(invalid="ignore"):
        accuracy = hits / pictures
    return AngleTable(lowest * ELEVATION_STEP_DEG, accuracy.reshape(shape), pictures.reshape(shape))


def draw(table: AngleTable, title: str) -> bytes:
    """Return a PNG of the table, with every cell's figure and number of pictures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows, columns = table.accuracy.shape
    figure = Figure(figsize=(10, 1.6 + 0.62 * rows), layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(100 * table.accuracy, origin="lower", cmap="viridis", vmin=0, vmax=100, aspect="auto")
    for row in range(rows):
        for column in range(columns):
            if count := int(table.pictures[row, column]):
                share = 100 * table.accuracy[row, column]
                colour = "black" if share > 60 else "white"
                axes.text(
                    column, row, f"{share:.0f}\n{count}", ha="center", va="center", color=colour, fontsize=8
                )
                if count < FEW:
                    place = (column - 0.5, row - 0.5)
                    axes.add_patch(
                        Rectangle(place, 1, 1, fill=False, hatch="///", edgecolor="grey", linewidth=0)
                    )
    axes.set_xticks(
        np.arange(columns + 1) - 0.5, [str(AZIMUTH_STEP_DEG * step) for step in range(columns + 1)]
    )
    edges = [str(table.lowest_deg + ELEVATION_STEP_DEG * step) for step in range(rows + 1)]
    axes.set_yticks(np.arange(rows + 1) - 0.5, edges)
    axes.set_xlabel("azimuth (degrees)")
    axes.set_ylabel("elevation (degrees)")
    axes.set_title(
        f"{title}\ntop-1 in % above, number of pictures below; hatched: fewer than {FEW}", fontsize=10
    )
    figure.colorbar(image, ax=axes, label="top-1 (%)")
    canvas.print_png(buffer := io.BytesIO())
    return buffer.getvalue()
