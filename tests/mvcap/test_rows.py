"""Records to rows and back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvcap.errors import CRASH
from mvcap.records import CaptionedView, CaptionQuality, Extras, Rejected, SelectedObject
from mvcap.rows import caption_columns, failure_row, planned_from_row, planned_row, view_from_row, view_row
from mvcap.schema import FAILURE_SCHEMA, PLANNED_SCHEMA, VIEW_SCHEMA


def through_parquet(rows: list[dict[str, Any]], kind: pa.Schema, folder: Path) -> list[dict[str, Any]]:
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), folder / "t.parquet")
    read: list[dict[str, Any]] = pq.read_table(folder / "t.parquet").to_pylist()
    return read


def test_a_view_survives_its_row_but_for_float32(make_object, make_view, make_camera, tmp_path: Path):
    item = make_object("a")
    view = make_view(item, 7, camera=make_camera(azimuth_deg=30.1))
    (row,) = through_parquet([view_row(view, split="train")], VIEW_SCHEMA, tmp_path)
    back = view_from_row(row, item)
    assert back.camera is not None
    assert replace(back, camera=None, foreground_fraction=None) == replace(
        view, camera=None, foreground_fraction=None
    )
    assert back.camera.azimuth_deg == float(np.float32(30.1))
    np.testing.assert_array_equal(
        np.float32(back.camera.camera_to_world), np.float32(make_camera().camera_to_world)
    )


def test_reading_a_row_and_writing_it_again_changes_nothing(
    make_object, make_view, make_camera, tmp_path: Path
):
    item = make_object("a")
    view = make_view(item, 0, camera=make_camera())
    (first,) = through_parquet([view_row(view, split="train")], VIEW_SCHEMA, tmp_path)
    again = view_row(view_from_row(first, item), split="train")
    (second,) = through_parquet([again], VIEW_SCHEMA, tmp_path)
    assert first == second


def test_the_background_is_a_colour_or_the_name_of_a_picture(make_object, make_view, tmp_path: Path):
    item = make_object("a")
    plain = replace(
        make_view(item, 0), background="#a0B1c2", asset_sha256="00ff", renderer="blender 4.5", flags=()
    )
    wood = replace(plain, view_index=1, backdrop="a/wood#1.jpg", flags=("clipped", "tiny_subject"))
    rows = [view_row(view, split="train") for view in (plain, wood)]
    first, second = through_parquet(rows, VIEW_SCHEMA, tmp_path)
    assert [first["background"], second["background"]] == ["#a0B1c2", "a/wood#1.jpg"]
    assert view_from_row(first, item) == plain
    assert replace(view_from_row(second, item), background=plain.background) == wood


def test_a_row_of_the_first_version_is_read_with_what_it_lacks_as_null(make_object, make_view):
    item = make_object("a")
    row = view_row(make_view(item, 0), split="train")
    added = ("asset_sha256", "renderer", "flags")
    old = {name: value for name, value in row.items() if name not in added}
    view = view_from_row(old, item)
    assert {getattr(view, name) for name in added} == {None}


def test_extras_go_there_and_back_and_are_null_where_none_were_asked_for(make_object, make_view, tmp_path):
    item = make_object("a")
    plain, rich = make_view(item, 0), make_view(item, 1)
    rich = replace(rich, extras=Extras(mask=b"m", depth=b"d", depth_scale=0.5, normals=None))
    table = [view_row(view, split="train") for view in (plain, rich)]
    first, second = through_parquet(table, VIEW_SCHEMA, tmp_path)
    assert [first[name] for name in ("mask", "depth", "depth_scale", "normals")] == [None] * 4
    assert second["depth"] == {"bytes": b"d", "path": f"{item.uid}/001-depth.png"}
    assert view_from_row(first, item).extras is None
    assert view_from_row(second, item).extras == rich.extras


def test_an_unknown_pose_is_null_in_every_camera_column(make_object, make_view, make_camera, tmp_path: Path):
    item = make_object("a")
    row = view_row(make_view(item, 0, camera=None), split="train")
    posed = view_row(make_view(item, 1, camera=make_camera()), split="train")
    first, second = through_parquet([row, posed], VIEW_SCHEMA, tmp_path)
    camera = (
        "azimuth_deg",
        "elevation_deg",
        "distance",
        "fov_deg",
        "fx",
        "fy",
        "cx",
        "cy",
        "camera_to_world",
    )
    assert {first[name] for name in camera} == {None}
    assert None not in [second[name] for name in camera]
    assert view_from_row(first, item).camera is None


def test_the_field_of_view_is_the_horizontal_one_in_degrees(make_object, make_view, make_camera):
    row = view_row(make_view(make_object("a"), 0, camera=make_camera()), split="train")
    assert row["fov_deg"] == pytest.approx(2 * np.degrees(np.arctan(32 / 2 / 35)), abs=1e-9)  # 35 mm on 32 mm


def test_a_caption_adds_its_columns(make_object, make_view, tmp_path: Path):
    view = make_view(make_object("a"), 0)
    quality = CaptionQuality("plural", None, ("cut",))
    added = caption_columns(
        CaptionedView(view, "a chair", "Write", quality, retried=True, clip_score=0.25), captioner="fake:1"
    )
    row = view_row(view, split="train") | added
    assert set(row) | {"duplicate_of"} == set(VIEW_SCHEMA.names)
    (read,) = through_parquet([row], VIEW_SCHEMA, tmp_path)
    assert {name: read[name] for name in added} == {
        **{"caption": "a chair", "prompt": "Write", "captioner": "fake:1", "category_match": "plural"},
        **{"other_category": None, "caption_flags": ["cut"], "caption_retried": True, "clip_score": 0.25},
    }


def test_an_unjudged_caption_is_told_from_one_without_flags(make_object, make_view):
    view = make_view(make_object("a"), 0)
    flags = [
        caption_columns(CaptionedView(view, "a chair", "Write", quality), captioner="x")["caption_flags"]
        for quality in (None, CaptionQuality("exact", None, ()))
    ]
    assert flags == [None, []]


@pytest.mark.parametrize("source_id", ["a", "../../x\0\nß🪑", "x" * 300])
@pytest.mark.parametrize("rotation", [None, (1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.1)])
def test_a_planned_object_survives_its_row_exactly(make_object, source_id: str, rotation, tmp_path: Path):
    record = replace(make_object(source_id).record, rotation=rotation, front_azimuth_deg=270.1, creator=None)
    item = SelectedObject(record, "a | b` <script>", similarity=0.123456789012345)
    (row,) = through_parquet([planned_row(item, 3)], PLANNED_SCHEMA, tmp_path)
    assert planned_from_row(row) == item
    assert row["shard"] == 3


def test_a_failure_keeps_every_field(tmp_path: Path):
    rejected = Rejected("u", "render", CRASH, "died", 4, attempts=3, signal="SIGSEGV", log_tail="…")
    (row,) = through_parquet([failure_row(rejected)], FAILURE_SCHEMA, tmp_path)
    assert Rejected(**row) == rejected
