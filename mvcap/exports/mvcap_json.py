"""The layout in which MVCap was published: `metadata.json` and `views/<uid>/NNN.png`.

Each entry of `metadata.json` has `path`, `caption`, `obj_id` and `img_id`, as the official file has them;
`img_id = obj_id * 100 + view` (computed from it). Category, licence and camera have no place there, so
`objects.parquet` goes along: who passes the pictures on must name their creators.
"""

import io
import json
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from PIL import Image
from pydantic import BaseModel, ConfigDict

from mvcap import files, schema
from mvcap.commits import CAPTION
from mvcap.errors import CorruptDatasetError, UsageError
from mvcap.plan import Plan
from mvcap.storage import Store
from mvcap.tables import open_table

VIEWS_PER_OBJECT: Final = 100
"""`img_id` leaves room for so many; more would give two views one id."""
PNG: Final = b"\x89PNG"


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str | None = None
    """Only the objects of this split; the layout itself has none."""


def export(store: Store, plan: Plan, folder: Path, options: Options) -> int:
    """Write the layout; objects are numbered from 0 in the plan's order, those without views left out.

    Pictures are PNG with the stored pixels, and a stored PNG byte for byte.

    Raises:
        UsageError: a view without a caption, an index of 100 or more, or nothing to export.
    """
    _refuse_what_does_not_fit(store, plan, options)
    views = 0
    with (folder / "metadata.json").open("w", encoding="utf-8") as metadata:
        for number, (uid, rows) in enumerate(_objects(store, plan, options)):
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
    (folder / "objects.parquet").write_bytes(files.read_bytes(store.root / "objects.parquet"))
    return views


def _refuse_what_does_not_fit(store: Store, plan: Plan, options: Options) -> None:
    """Look at every view's index and caption, and at no picture."""
    uncaptioned = views = 0
    for uid, rows in _objects(store, plan, options, columns=["uid", "view_index", "caption"]):
        if (last := max(row["view_index"] for row in rows)) >= VIEWS_PER_OBJECT:
            raise UsageError(
                f"{uid} has a view {last}: mvcap-json numbers up to {VIEWS_PER_OBJECT} views of an object, "
                "0 to 99, and further ids would belong to the next object; render fewer views"
            )
        uncaptioned += sum(row["caption"] is None for row in rows)
        views += len(rows)
    if not views:
        among = sorted({shard.split for shard in plan.shards})
        raise UsageError(
            f"nothing to export: no views of split {options.split!r} (splits: {', '.join(among)})"
        )
    if uncaptioned:
        raise UsageError(
            f"{uncaptioned} of {views} views have no captions yet: run `mvcap caption {store.root}` first"
        )


def _objects(
    store: Store, plan: Plan, options: Options, columns: list[str] | None = None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the rows of each object that has any."""
    wanted = columns or ["uid", "view_index", "caption", "image"]
    for shard in plan.shards:
        commit = store.find_commit(CAPTION, shard)
        if commit is None or commit.file is None or options.split not in (None, shard.split):
            continue
        try:
            with open_table(store.root / commit.file) as file:
                schema.check_version(file.schema_arrow, commit.file)
                groups = (file.read_row_group(index, columns=wanted) for index in range(file.num_row_groups))
                for group in groups:
                    for uid, views in groupby(group.to_pylist(), key=itemgetter("uid")):
                        yield uid, list(views)
        except (OSError, pa.ArrowException) as error:
            raise CorruptDatasetError(f"{commit.file} cannot be read: {error}; run `mvcap verify`") from error


def _png(stored: bytes) -> bytes:
    if stored.startswith(PNG):
        return stored
    with Image.open(io.BytesIO(stored)) as image:
        image.save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()
