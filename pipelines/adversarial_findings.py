"""What a search for bad viewpoints has found: its figures, its rows, and a sheet of the worst pictures."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from mvcap import files
from mvcap.quantities import quantity
from training.evaluation.figures import clustered_share
from training.evaluation.viewpoint_search import Seen

SHOWN: Final = 40
COLUMNS: Final = 8
SIDE_PX: Final = 160
WORDS_PX: Final = 44
"""Of the contact sheet."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of an object."""

    uid: str
    category: str
    random: Sequence[Seen]
    """From viewpoints that are uniform over the hemisphere by area."""
    control: Sequence[Seen]
    """From as many further ones as the search looked from."""
    searched: Sequence[Seen]
    worst_picture: Image.Image
    predicted: str
    """From the worst viewpoint."""

    @property
    def worst(self) -> Seen:
        return min([*self.random, *self.searched], key=lambda one: one.margin)

    @property
    def worst_of_random(self) -> Seen:
        return min([*self.random, *self.control], key=lambda one: one.margin)


def summarise(found: Sequence[Found]) -> dict[str, Any]:
    """Return accuracies with their 95 % intervals, objects being the units, as plain values."""
    objects = np.arange(len(found))
    owner = np.repeat(objects, [len(one.random) for one in found])
    random = np.array([seen.margin for one in found for seen in one.random])
    of_random = np.array([one.worst_of_random.margin for one in found])
    of_search = np.array([one.worst.margin for one in found])
    named = {
        "random": (random, owner),
        "worst_of_random": (of_random, objects),
        "worst_found": (of_search, objects),
    }
    return {
        "objects": len(found),
        **{
            name: {
                "top1": clustered_share((margins > 0).astype(float), owners).to_json(),
                "mean_margin": float(margins.mean()),
            }
            for name, (margins, owners) in named.items()
        },
    }


def describe(name: str, told: Mapping[str, Any]) -> str:
    """Say the figures in a line."""
    shares = {
        key: f"{100 * told[key]['top1']['mean']:.1f} % (margin {told[key]['mean_margin']:+.3f})"
        for key in ("random", "worst_of_random", "worst_found")
    }
    objects = quantity(told["objects"], "object")
    return (
        f"{name}, {objects}: right from random viewpoints {shares['random']}, from "
        f"the worst of as many random ones as the search looked from {shares['worst_of_random']}, from the "
        f"worst that it found {shares['worst_found']}"
    )


def write_findings(folder: Path, name: str, found: Sequence[Found]) -> None:
    """Write `NAME-adversarial.parquet`, a row for each picture, and a sheet of the worst ones."""
    rows: list[Mapping[str, Any]] = [
        {
            "uid": one.uid,
            "category": one.category,
            "drawn": drawn,
            "azimuth_deg": seen.angles[0],
            "elevation_deg": seen.angles[1],
            "margin": seen.margin,
        }
        for one in found
        for drawn, pictures in (
            ("random", one.random),
            ("control", one.control),
            ("searched", one.searched),
        )
        for seen in pictures
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with files.staged(folder / f"{name}-adversarial.parquet") as path:
        pq.write_table(pa.Table.from_pylist(rows), path)
    files.write_bytes(folder / f"{name}-adversarial.png", _sheet(found))


def _sheet(found: Sequence[Found]) -> bytes:
    """Draw the worst pictures, most mistaken first, with what was seen and what is true."""
    worst = sorted(found, key=lambda one: one.worst.margin)[:SHOWN]
    height = SIDE_PX + WORDS_PX
    sheet = Image.new("RGB", (COLUMNS * SIDE_PX, -(-len(worst) // COLUMNS) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for index, one in enumerate(worst):
        x, y = index % COLUMNS * SIDE_PX, index // COLUMNS * height
        sheet.paste(one.worst_picture.resize((SIDE_PX, SIDE_PX)), (x, y))
        azimuth, elevation = one.worst.angles
        where = f"{one.worst.margin:+.2f} at {azimuth:.0f}, {elevation:.0f} up"
        words = f"seen: {one.predicted[:22]}\ntrue: {one.category[:22]}\n{where}"
        colour = "black" if one.worst.margin > 0 else "#a00000"
        draw.multiline_text((x + 3, y + SIDE_PX + 1), words, colour, spacing=1)
    sheet.save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()
