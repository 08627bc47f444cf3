"""A finished dataset of coloured discs, as large and as hostile as a test of the report wants it."""

import colorsys
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import asin, degrees
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mvcap import schema
from mvcap.commits import CAPTION, RENDER
from mvcap.config import Config, producing_settings
from mvcap.plan import Plan, extend_plan, make_uid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.storage import Store
from mvcap.tables import TableWriter

SIDE_PX = 96


@dataclass(frozen=True)
class Thing:
    """An object of the dataset; what is not given is harmless."""

    name: str
    category: str = "chair"
    license: str | None = "CC0-1.0"
    creator: str | None = "Ada"
    url: str | None = "https://example.org/model"
    source: str = "folder"
    caption: str | None = None
    """Of all its views; otherwise each has its own."""
    posed: bool = True


def disc(hue: float, turn: float) -> bytes:
    """Draw a disc that moves with the view, so that two views are different pictures."""
    picture = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
    red, green, blue = (int(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, 0.7, 0.8))
    left = 8 + 40 * (turn % 1)
    ImageDraw.Draw(picture).ellipse((left, 24, left + 40, 72), fill=(red, green, blue))
    return _jpeg(picture)


def noise(count: int, side_px: int = SIDE_PX) -> list[bytes]:
    """Make pictures that compress worse than renders do."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, side_px, side_px, 3), dtype=np.uint8)
    return [_jpeg(Image.fromarray(one).filter(ImageFilter.GaussianBlur(1))) for one in pixels]


def _jpeg(picture: Image.Image) -> bytes:
    picture.save(buffer := io.BytesIO(), "JPEG", quality=90)
    return buffer.getvalue()


def make_object(thing: Thing) -> SelectedObject:
    uid = make_uid(thing.source, thing.name)
    record = ObjectRecord(
        uid, thing.source, thing.name, thing.name, "/a.glb", thing.license, thing.creator, thing.url
    )
    return SelectedObject(record, thing.category)


def write(
    root: Path,
    things: Sequence[Thing],
    *,
    views: int = 12,
    per_shard: int = 8,
    failed: Sequence[Rejected] = (),
    pictures: Sequence[bytes] | None = None,
    changes: Mapping[tuple[str, int], Mapping[str, Any]] | None = None,
) -> Store:
    """Commit all shards of a dataset of these things.

    Args:
        pictures: stored in turn; discs otherwise.
        changes: columns of single views, by the thing's name and the view's index.
    """
    objects = {item.uid: (thing, item) for thing in things for item in [make_object(thing)]}
    store = Store(root)
    plan = extend_plan(Plan(0, per_shard, {"train": 0.8, "test": 0.2}), objects)
    store.write_plan(plan, [item for _, item in objects.values()], list(failed))
    store.config_path.write_text("config: {name: discs}\nstages: {}\n")
    render = store.remember_settings(RENDER, {"seed": 0, **producing_settings(Config().render)})
    for shard in plan.shards:
        with store.stage_file(CAPTION, shard) as path:
            with TableWriter(path, schema.VIEW_SCHEMA) as writer:
                for uid in shard.uids:
                    thing, item = objects[uid]
                    writer.write(_rows(thing, item, views, shard.split, pictures, changes or {}))
            facts = {"rows": views * len(shard.uids), "views": dict.fromkeys(shard.uids, views)}
            made_by = {"blender": "4.5.15 LTS", "name": "blender"}
            store.commit(RENDER, shard, None, settings=render, seconds=12.0, made_by=made_by, **facts)
            store.commit(CAPTION, shard, path, settings="s", seconds=3.0, made_by={"name": "fake:1"}, **facts)
    return store


def _rows(
    thing: Thing,
    item: SelectedObject,
    views: int,
    split: str,
    pictures: Sequence[bytes] | None,
    changes: Mapping[tuple[str, int], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    hue = sum(map(ord, thing.name)) / 37
    rows = []
    for index in range(views):
        elevation = degrees(asin((index * 0.618) % 1))
        row = {
            "uid": item.uid,
            "source": thing.source,
            "source_id": thing.name,
            "category": thing.category,
            "view_index": index,
            "image": {
                "bytes": pictures[(index * 7 + len(thing.name)) % len(pictures)]
                if pictures
                else disc(hue, index / views),
                "path": None,
            },
            "caption": thing.caption or f"a {thing.category} number {index} of {thing.name}",
            "prompt": f"Write about a {thing.category}.",
            "captioner": "fake:1",
            "category_match": "exact",
            "caption_flags": [],
            "caption_retried": False,
            "background": "#ffffff",
            "azimuth_deg": 360 * index / views if thing.posed else None,
            "elevation_deg": elevation if thing.posed else None,
            "distance": 2.0 if thing.posed else None,
            "width": SIDE_PX,
            "height": SIDE_PX,
            "foreground_fraction": 0.2,
            "flags": [],
            "license": thing.license,
            "creator": thing.creator,
            "source_url": thing.url,
            "renderer": "blender 4.5.15 LTS" if thing.posed else None,
            "split": split,
        }
        rows.append(row | changes.get((thing.name, index), {}))
    return rows
