"""Read once through a dataset and collect what the page shows of it."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeAlias

from mvcap.dataset import Dataset, DatasetObject
from mvcap.report.page.choosing import Choice
from mvcap.report.page.counts import Counts
from mvcap.report.page.sprites import Sheets, SpriteSheets
from mvcap.report.page.worst import Fault, Worst, caption_fault, render_fault

THUMBNAIL_PX: Final = 160
THUMBNAIL_BYTES: Final = 4_000
TURNED_PX: Final = 256
TURNED_BYTES: Final = 8_000
"""Means at which quality goes down; renders of furniture take a third of them."""
COLUMNS: Final = (
    *("uid", "view_index", "category", "source", "split", "renderer", "caption", "prompt", "captioner"),
    *("category_match", "other_category", "caption_flags", "caption_retried", "clip_score"),
    *("azimuth_deg", "elevation_deg", "distance", "fov_deg", "width", "height", "foreground_fraction"),
    *("flags", "duplicate_of", "license", "creator", "source_url"),
)
PICTURE_COLUMNS: Final = ("uid", "view_index", "image")

Row: TypeAlias = Mapping[str, Any]
Key: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """A view on the page."""

    row: Row
    """Its columns, without pictures."""
    thumbnail: int | None = None
    """Place in the sheets of small pictures."""
    frame: int | None = None
    """Place in the sheets of the turntables."""
    digest: str | None = None
    """Of the stored picture; None for one that is not drawn."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is shown of a dataset."""

    objects: Mapping[str, DatasetObject]
    """Those of the views below."""
    views: Mapping[Key, Shown]
    listed: Sequence[Key]
    """In the browser, mixed."""
    turned: Mapping[str, Sequence[Key]]
    """Views of each object that can be turned."""
    worst_captions: Sequence[tuple[Fault, Key]]
    worst_renders: Sequence[tuple[Fault, Key]]
    counts: Counts
    thumbnails: Sheets
    frames: Sheets


def collect(dataset: Dataset, choice: Choice) -> Contents:
    """Read all rows for the counts, and the pictures of what was chosen and of the worst.

    Raises:
        CorruptDatasetError: a file cannot be read.
    """
    counts, captions, renders = Counts(), Worst(caption_fault), Worst(render_fault)
    listed: dict[Key, Row] = {}
    pictured: set[Key] = set()
    turned: dict[str, dict[Key, Row]] = {}
    for item, rows in dataset.by_object(COLUMNS):
        counts.add(rows)
        captions.add(rows)
        renders.add(rows)
        listed |= _keyed(choice.draw(rows, choice.listed.get(item.uid, 0)))
        pictured |= _keyed(choice.draw(rows, choice.pictured.get(item.uid, 0))).keys()
        if turning := choice.turned.get(item.uid):
            turned[item.uid] = _keyed(choice.draw(rows, turning))
    worst = _keyed(row for part in (captions, renders) for _, row in part)
    framed = {key: row for views_of_one in turned.values() for key, row in views_of_one.items()}
    shown = listed | framed | worst
    drawn = _draw(dataset, pictured | worst.keys(), framed.keys())
    thumbnails, frames = drawn.places
    uids = {uid for uid, _ in shown}
    return Contents(
        objects={item.uid: item for item in dataset.objects if item.uid in uids},
        views={
            key: Shown(row, thumbnails.get(key), frames.get(key), drawn.digests.get(key))
            for key, row in shown.items()
        },
        listed=choice.mixed(listed),
        turned={uid: list(views_of_one) for uid, views_of_one in turned.items()},
        worst_captions=[(fault, _key(row)) for fault, row in captions],
        worst_renders=[(fault, _key(row)) for fault, row in renders],
        counts=counts,
        thumbnails=drawn.sheets[0],
        frames=drawn.sheets[1],
    )


def _keyed(rows: Iterable[Row]) -> dict[Key, Row]:
    return {_key(row): row for row in rows}


def _key(row: Row) -> Key:
    return row["uid"], row["view_index"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Thumbnails and frames of turntables, and where each view's are."""

    places: tuple[Mapping[Key, int], Mapping[Key, int]]
    sheets: tuple[Sheets, Sheets]
    digests: Mapping[Key, str]


def _draw(dataset: Dataset, pictured: Set[Key], framed: Set[Key]) -> Drawn:
    """Read the pictures of the chosen views, an object at a time, and draw them into their sheets."""
    thumbnails = SpriteSheets(side_px=THUMBNAIL_PX, cell_bytes=THUMBNAIL_BYTES)
    frames = SpriteSheets(side_px=TURNED_PX, cell_bytes=TURNED_BYTES)
    places: tuple[dict[Key, int], dict[Key, int]] = ({}, {})
    digests: dict[Key, str] = {}
    for _, rows in dataset.only({uid for uid, _ in (*pictured, *framed)}).by_object(PICTURE_COLUMNS):
        for row in rows:
            for wanted, sheets, place in zip((pictured, framed), (thumbnails, frames), places, strict=True):
                if (key := _key(row)) in wanted:
                    place[key] = sheets.add(row["image"]["bytes"])
                    digests[key] = sha256(row["image"]["bytes"]).hexdigest()
    return Drawn(places, (thumbnails.finish(), frames.finish()), digests)
