"""Look at what a shard's rows say: decode each picture, compare each row with its plan and commit record.

Checksums tell that a file is the one that was committed; this tells that what was committed makes sense.
"""

import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pyarrow as pa
from PIL import ExifTags, Image, UnidentifiedImageError

from mvcap.commits import CAPTION, RENDER, Commit
from mvcap.plan import Shard
from mvcap.records import Rejected, SelectedObject
from mvcap.schema import PICTURES

QUARTER_TURNS: Final = frozenset({5, 6, 7, 8})
"""Orientations of Exif under which a picture is shown as wide as it is stored high."""
NAMED: Final = 3
"""Flaws that a message tells one by one."""


def describe_flaws(flaws: Iterable[str]) -> str | None:
    """Join flaws to one message that tells the first ones and counts them all; None where there are none."""
    found = list(flaws)
    if not found:
        return None
    rest = f"; and {len(found) - NAMED} more like these" if len(found) > NAMED else ""
    return "; ".join(found[:NAMED]) + rest


def flaws_of_rows(
    tables: Iterable[pa.Table], shard: Shard, commit: Commit, objects: Mapping[str, SelectedObject]
) -> Iterator[str]:
    """Yield what is wrong with a shard's rows; columns that an older version did not write are left aside.

    Args:
        tables: the shard's row groups, each of which has to be one object's.
        objects: the planned objects, by uid.
    """
    seen: dict[str, int] = {}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # decoders let other threads run
        for table in tables:
            uids = set(table["uid"].to_pylist())
            if len(uids) > 1:
                yield f"the objects {sorted(uids)[:NAMED]} share a row group, where each has to have its own"
                continue
            (uid,) = uids
            seen[uid] = seen.get(uid, 0) + table.num_rows
            rows = table.to_pylist()
            for flaws in pool.map(_flaws_of_pictures, rows):
                yield from flaws
            for row in rows:
                yield from _flaws_of_captions(row, commit)
                yield from _flaws_of_facts(row, shard, commit, objects.get(uid))
    for uid in sorted(seen.keys() | commit.views.keys()):
        if (rows_seen := seen.get(uid, 0)) != (told := commit.views.get(uid, 0)):
            yield f"{uid} has {rows_seen} rows; its commit says {told}"


def unaccounted(
    shard: Shard, render: Commit | None, data: Commit | None, removed: Iterable[str]
) -> list[str]:
    """List what is lost: objects that have neither a view nor a failure, and views that went the same way."""
    lost = []
    for uid in sorted(set(shard.uids) - set(removed)):
        if render and not (render.views.get(uid) or _rejections(render, uid)):
            lost.append(f"{uid} has neither a view nor a failure")
        elif render and data and not _all_captioned(uid, render, data):
            there, were = data.views.get(uid, 0), render.views.get(uid, 0)
            lost.append(f"{uid} has {there} of its {were} views, and no failure says why")
    return lost


def _all_captioned(uid: str, render: Commit, data: Commit) -> bool:
    if data.rendered is not None and data.rendered != render.generation:
        return True  # older than its views: told by others
    told = _rejections(data, uid)
    whole = any(rejected.view_index is None for rejected in told)
    return whole or data.views.get(uid, 0) + len(told) >= render.views.get(uid, 0)


def _rejections(commit: Commit, uid: str) -> list[Rejected]:
    return [rejected for rejected in commit.rejected if rejected.uid == uid]


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['uid']} view {row['view_index']}"


def _flaws_of_pictures(row: Mapping[str, Any]) -> list[str]:
    """Decode a view's pictures; each has to be whole, and of the size that its row says."""
    if not row["image"]:
        return [f"{_name(row)} has no picture"]
    size = (row["width"], row["height"])
    named = ((name, row.get(name)) for name in PICTURES)
    found = ((name, _flaw_of_picture(stored["bytes"], size)) for name, stored in named if stored)
    return [f"{name} of {_name(row)} {flaw}" for name, flaw in found if flaw]


def _flaw_of_picture(content: bytes | None, size: tuple[int, int]) -> str | None:
    try:
        with Image.open(io.BytesIO(content or b"")) as picture:
            if picture.size != size and not _is_turned(picture, size):  # known before anything is decoded
                return f"is {picture.width} x {picture.height}; its row says {size[0]} x {size[1]}"
            picture.load()
    except UnidentifiedImageError:  # its message is the address of a buffer
        return "cannot be decoded: of no known format"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be decoded: {error}"
    return None


def _is_turned(picture: Image.Image, size: tuple[int, int]) -> bool:
    """Tell whether a picture has a size once it is upright: the size that rows give of photographs."""
    return picture.size == size[::-1] and picture.getexif().get(ExifTags.Base.Orientation) in QUARTER_TURNS


def _flaws_of_captions(row: Mapping[str, Any], commit: Commit) -> Iterator[str]:
    """Compare the columns of a caption: all there, or none where nothing was to be captioned."""
    caption = row["caption"]
    if commit.stage == RENDER or commit.uncaptioned:
        if caption is not None:
            yield f"{_name(row)} has a caption before it was captioned"
        return
    if not (caption or "").strip():
        yield f"{_name(row)} has no caption, and its shard is captioned"
    elif not (row["prompt"] and row["captioner"]):
        yield f"{_name(row)} has a caption without its prompt or captioner"


def _flaws_of_facts(
    row: Mapping[str, Any], shard: Shard, commit: Commit, item: SelectedObject | None
) -> Iterator[str]:
    """Compare what a row repeats of its object, shard and commit."""
    expected: dict[str, Any] = {"split": shard.split}
    if item:
        record = item.record
        expected |= {"category": item.category, "source": record.source, "source_id": record.source_id}
    if commit.stage == CAPTION and "duplicate_of" in row:
        expected["duplicate_of"] = commit.duplicates.get(row["uid"])
    for column, value in expected.items():
        if row[column] != value:
            yield f"{column} of {_name(row)} is {row[column]!r}, and should be {value!r}"
    matrix = row["camera_to_world"]
    if matrix is not None and not (len(matrix) == 16 and all(map(math.isfinite, matrix))):
        yield f"camera_to_world of {_name(row)} is not a matrix of 16 finite numbers"
