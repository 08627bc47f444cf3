"""Twelve captions under their pictures, so that a person sees at once what the captioner writes."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from mvcap import files
from mvcap.commits import CAPTION
from mvcap.places import Place
from mvcap.plan import Plan, stable_hash
from mvcap.report.sheets import thumbnail
from mvcap.storage import Store
from mvcap.tables import read_table

SAMPLES: Final = 12
COLUMNS: Final = 4
PICTURE_PX: Final = 224
LINE_PX: Final = 18
LINES: Final = 3
LINE_CHARACTERS: Final = 34


@dataclass(frozen=True, slots=True)
class Sample:
    """A view and its caption."""

    uid: str
    view_index: int
    caption: str | None
    image: bytes
    """As stored."""


def read_samples(store: Store, plan: Plan) -> list[Sample]:
    """Read one view of each of up to 12 objects, all drawn by the objects' uids."""
    commits = [store.find_commit(CAPTION, shard) for shard in plan.shards]
    homes = {uid: commit.file for commit in commits if commit and commit.file for uid in commit.views}
    return [_read_sample(store.root / homes[uid], uid) for uid in draw_objects(homes)]


def draw_objects(homes: Mapping[str, object]) -> list[str]:
    """Draw up to 12 uids by their hashes: spread over the dataset, and the same every time."""
    return sorted(sorted(homes, key=stable_hash)[:SAMPLES])


def _read_sample(file: Place, uid: str) -> Sample:
    columns = ["uid", "view_index", "caption", "image"]
    rows = read_table(file, columns=columns, filters=[("uid", "=", uid)]).to_pylist()
    row = sorted(rows, key=lambda row: int(row["view_index"]))[stable_hash(f"{uid} view") % len(rows)]
    return Sample(uid, row["view_index"], row["caption"], row["image"]["bytes"])


def describe_samples(samples: Sequence[Sample]) -> str:
    """Write a line for each sample: its object, its view, its caption."""
    width = max((len(sample.uid) for sample in samples), default=0)
    lines = (f"{s.uid:{width}}  view {s.view_index:3}  {s.caption or '(no caption)'}" for s in samples)
    return "\n".join(lines)


def write_samples(store: Store, plan: Plan) -> None:
    """Draw the samples of a complete dataset into `report/samples.png`; nothing where it has no rows."""
    if samples := read_samples(store, plan):
        buffer = io.BytesIO()
        draw_samples(samples).save(buffer, "PNG")
        files.write_bytes(store.samples_path, buffer.getvalue())


def draw_samples(samples: Sequence[Sample]) -> Image.Image:
    """Draw pictures in rows of four, each with its caption below."""
    cell = (PICTURE_PX + 8, PICTURE_PX + LINES * LINE_PX + 8)
    rows = -(-len(samples) // COLUMNS)
    drawing = Image.new("RGB", (COLUMNS * cell[0], rows * cell[1]), "white")
    draw, font = ImageDraw.Draw(drawing), ImageFont.load_default(13)
    for index, sample in enumerate(samples):
        left, top = index % COLUMNS * cell[0], index // COLUMNS * cell[1]
        drawing.paste(thumbnail(sample.image, PICTURE_PX), (left, top))
        words = textwrap.wrap(sample.caption or "(no caption)", LINE_CHARACTERS)[:LINES]
        draw.text((left + 4, top + PICTURE_PX + 2), "\n".join(words), fill="black", font=font)
    return drawing
