"""The layout in which MVCap was published: `metadata.json` and `views/<uid>/NNN.png`.

Each entry of `metadata.json` has `path`, `caption`, `obj_id` and `img_id`, as the official file has them;
`img_id = obj_id * 100 + view` (computed from it). Category, licence and camera have no place there, so
`objects.parquet` goes along: who passes the pictures on must name their creators.
"""

import io
import json
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict

from mvcap.errors import UsageError
from mvcap.exports._chosen import ChosenViews
from mvcap.rows import PNG

VIEWS_PER_OBJECT: Final = 100
"""`img_id` leaves room for so many; more would give two views one id."""


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def export(chosen: ChosenViews, folder: Path, options: Options) -> int:
    """Write the layout; objects are numbered from 0 in the plan's order, those without views left out.

    Pictures are PNG with the stored pixels, upright, and a stored PNG byte for byte.

    Raises:
        UsageError: a view without a caption, or an index of 100 or more.
    """
    chosen.require_captions()
    _refuse_further_views(chosen)
    views = 0
    with (folder / "metadata.json").open("w", encoding="utf-8") as metadata:
        for number, (uid, rows) in enumerate(chosen.objects(["view_index", "caption", "image"])):
            (folder / "views" / uid).mkdir(parents=True)
            for row in rows:
                place = f"views/{uid}/{row['view_index']:03d}.png"
                (folder / place).write_bytes(_png(row["image"]["bytes"]))
                entry = {
                    "path": f"./{place}",
                    "caption": row["caption"],
                    "obj_id": number,
                    "img_id": number * VIEWS_PER_OBJECT + row["view_index"],
                }
                metadata.write((",\n" if views else "[\n") + json.dumps(entry, ensure_ascii=False))
                views += 1
        metadata.write("\n]\n")
    return views


def _refuse_further_views(chosen: ChosenViews) -> None:
    for uid, rows in chosen.objects(["view_index"]):
        if (last := max(row["view_index"] for row in rows)) >= VIEWS_PER_OBJECT:
            raise UsageError(
                f"{uid} has a view {last}: mvcap-json numbers up to {VIEWS_PER_OBJECT} views of an object, "
                "0 to 99, and further ids would belong to the next object; render fewer views"
            )


def _png(stored: bytes) -> bytes:
    if stored.startswith(PNG):
        return stored
    with Image.open(io.BytesIO(stored)) as image:
        ImageOps.exif_transpose(image).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()
