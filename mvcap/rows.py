"""From records to rows and back."""

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from mvcap.config import HEX_COLOUR
from mvcap.records import Camera, CaptionedView, Extras, ObjectRecord, Rejected, SelectedObject, View
from mvcap.schema import ASSET_COLUMNS, EXTRAS, FAILURE_SCHEMA, HIDDEN_COLOUR, PLANNED_SCHEMA, VIEW_SCHEMA

PNG = b"\x89PNG"
"""What every PNG begins with."""
NO_EXTRAS = Extras(None, None, None, None)
_CAMERA_FIELDS = ("azimuth_deg", "elevation_deg", "distance", "fov_deg", "fx", "fy", "cx", "cy")


def view_row(view: View, *, split: str) -> dict[str, Any]:
    """Turn a view into a row whose caption columns are null."""
    record, camera = view.object.record, view.camera
    return {
        "uid": record.uid,
        "source": record.source,
        "source_id": record.source_id,
        "category": view.object.category,
        "view_index": view.view_index,
        "image": {
            "bytes": view.image,
            "path": f"{record.uid}/{view.view_index:03d}.{picture_suffix(view.image)}",
        },
        "background": view.backdrop or view.background,
        **{name: getattr(camera, name, None) for name in _CAMERA_FIELDS},
        "camera_to_world": list(camera.camera_to_world) if camera else None,
        "width": view.width,
        "height": view.height,
        "foreground_fraction": view.foreground_fraction,
        **_extras_row(view),
        "flags": None if view.flags is None else list(view.flags),
        "license": record.license,
        "creator": record.creator,
        "source_url": record.source_url,
        "asset_sha256": view.asset_sha256,
        "renderer": view.renderer,
        "split": split,
    }


def picture_suffix(stored: bytes) -> str:
    """Tell a stored picture's kind by its first bytes: `png` or `jpg`."""
    return "png" if stored.startswith(PNG) else "jpg"


def _extras_row(view: View) -> dict[str, Any]:
    extras = view.extras or NO_EXTRAS
    pictures = {name: getattr(extras, name) for name in EXTRAS}
    stem = f"{view.object.uid}/{view.view_index:03d}"
    return {
        "depth_scale": extras.depth_scale,
        **{
            name: {"bytes": data, "path": f"{stem}-{name}.png"} if data else None
            for name, data in pictures.items()
        },
    }


def _extras_from_row(row: Mapping[str, Any]) -> Extras | None:
    pictures = {name: (row.get(name) or {}).get("bytes") for name in EXTRAS}
    return Extras(**pictures, depth_scale=row.get("depth_scale")) if any(pictures.values()) else None


def caption_columns(captioned: CaptionedView, *, captioner: str) -> dict[str, Any]:
    """Return the columns that captioning adds to a view's row."""
    quality = captioned.quality
    return {
        "caption": captioned.caption,
        "prompt": captioned.prompt,
        "captioner": captioner,
        "category_match": quality.category_match if quality else None,
        "other_category": quality.other_category if quality else None,
        "caption_flags": list(quality.flags) if quality else None,
        "caption_retried": captioned.retried,
        "clip_score": captioned.clip_score,
    }


CAPTION_COLUMNS = frozenset(
    {
        *("caption", "prompt", "captioner", "category_match", "other_category", "caption_flags"),
        *("caption_retried", "clip_score"),
    }
)
"""The columns that captioning fills: those of `caption_columns`."""


def without_captions(table: pa.Table) -> pa.Table:
    """Return rows of views as they were before they were captioned, or labelled as duplicates."""
    return _with_nulls(table, CAPTION_COLUMNS | {"duplicate_of"})


def without_duplicates(table: pa.Table) -> pa.Table:
    """Return rows of views as they were before they were labelled as duplicates."""
    return _with_nulls(table, {"duplicate_of"})


def in_present_schema(table: pa.Table) -> pa.Table:
    """Return rows of views with all columns of this version; what an older one did not have is null."""
    return _with_nulls(table, ())


def _with_nulls(table: pa.Table, emptied: Collection[str]) -> pa.Table:
    """Empty columns, and add those that an older version did not have."""
    missing = {*emptied, *(name for name in VIEW_SCHEMA.names if name not in table.schema.names)}
    columns = [
        pa.nulls(table.num_rows, column.type) if column.name in missing else table[column.name]
        for column in VIEW_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=VIEW_SCHEMA)


def view_from_row(row: Mapping[str, Any], item: SelectedObject) -> View:
    """Read a view back from its row; `item` is the object the row belongs to.

    Columns that an older version did not have are taken as null.
    """
    plain = re.fullmatch(HEX_COLOUR, row["background"])
    return View(
        object=item,
        view_index=row["view_index"],
        image=row["image"]["bytes"],
        background=row["background"] if plain else HIDDEN_COLOUR,
        width=row["width"],
        height=row["height"],
        camera=_camera_from_row(row),
        foreground_fraction=row["foreground_fraction"],
        backdrop=None if plain else row["background"],
        asset_sha256=row.get("asset_sha256"),
        renderer=row.get("renderer"),
        flags=None if row.get("flags") is None else tuple(row["flags"]),
        extras=_extras_from_row(row),
    )


def _camera_from_row(row: Mapping[str, Any]) -> Camera | None:
    if row["camera_to_world"] is None:
        return None
    return Camera(
        **{name: row[name] for name in _CAMERA_FIELDS if name != "fov_deg"},
        camera_to_world=tuple(row["camera_to_world"]),
        width=row["width"],
        height=row["height"],
    )


def planned_row(item: SelectedObject, shard: int) -> dict[str, Any]:
    record = item.record
    values = {name: getattr(record, name) for name in PLANNED_SCHEMA.names if hasattr(record, name)}
    rotation = list(record.rotation) if record.rotation else None
    return values | {
        "shard": shard,
        "category": item.category,
        "similarity": item.similarity,
        "rotation": rotation,
    }


def planned_from_row(row: Mapping[str, Any]) -> SelectedObject:
    fields: dict[str, Any] = {name: row.get(name) for name in ObjectRecord.__dataclass_fields__}
    fields["rotation"] = tuple(fields["rotation"]) if fields["rotation"] else None
    return SelectedObject(ObjectRecord(**fields), row["category"], row["similarity"])


def asset_row(view: View) -> dict[str, Any]:
    """Return what a view tells about its object's model file: a value for each of `ASSET_COLUMNS`.

    And the object's `portrait` in Base64, or None, which no table of the dataset holds.
    """
    facts = asdict(view.facts) if view.facts else {}
    row = {column.name: facts.get(column.name) for column in ASSET_COLUMNS}
    missing = None if view.facts is None else list(view.facts.missing_textures)
    portrait = None if view.portrait is None else b64encode(view.portrait).decode()
    return row | {"asset_sha256": view.asset_sha256, "missing_textures": missing, "portrait": portrait}


def failure_row(rejected: Rejected) -> dict[str, Any]:
    return {name: getattr(rejected, name) for name in FAILURE_SCHEMA.names}
