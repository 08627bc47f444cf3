"""Records to rows and back, and the written files in the hands of other libraries."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap import schema
from mvcap.errors import CRASH, CorruptDatasetError
from mvcap.records import CaptionedView, CaptionQuality, Extras, Rejected, SelectedObject

COLUMNS = schema.VIEW_SCHEMA.names
Row = tuple[str, int, str, np.ndarray]
"""uid, view index, split, pixels."""


def through_parquet(rows: list[dict[str, Any]], kind: pa.Schema, folder: Path) -> list[dict[str, Any]]:
    pq.write_table(pa.Table.from_pylist(rows, schema=kind), folder / "t.parquet")
    read: list[dict[str, Any]] = pq.read_table(folder / "t.parquet").to_pylist()
    return read


# round trips


def test_a_view_survives_its_row_but_for_float32(make_object, make_view, make_camera, tmp_path: Path):
    item = make_object("a")
    view = make_view(item, 7, camera=make_camera(azimuth_deg=30.1))
    (row,) = through_parquet([schema.view_row(view, split="train")], schema.VIEW_SCHEMA, tmp_path)
    back = schema.view_from_row(row, item)
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
    (first,) = through_parquet([schema.view_row(view, split="train")], schema.VIEW_SCHEMA, tmp_path)
    again = schema.view_row(schema.view_from_row(first, item), split="train")
    (second,) = through_parquet([again], schema.VIEW_SCHEMA, tmp_path)
    assert first == second


def test_the_background_is_a_colour_or_the_name_of_a_picture(make_object, make_view, tmp_path: Path):
    item = make_object("a")
    plain = replace(
        make_view(item, 0), background="#a0B1c2", asset_sha256="00ff", renderer="blender 4.5", flags=()
    )
    wood = replace(plain, view_index=1, backdrop="a/wood#1.jpg", flags=("clipped", "tiny_subject"))
    rows = [schema.view_row(view, split="train") for view in (plain, wood)]
    first, second = through_parquet(rows, schema.VIEW_SCHEMA, tmp_path)
    assert [first["background"], second["background"]] == ["#a0B1c2", "a/wood#1.jpg"]
    assert schema.view_from_row(first, item) == plain
    assert replace(schema.view_from_row(second, item), background=plain.background) == wood


def test_a_row_of_the_first_version_is_read_with_what_it_lacks_as_null(make_object, make_view):
    item = make_object("a")
    row = schema.view_row(make_view(item, 0), split="train")
    added = ("asset_sha256", "renderer", "flags")
    old = {name: value for name, value in row.items() if name not in added}
    view = schema.view_from_row(old, item)
    assert {getattr(view, name) for name in added} == {None}


def test_extras_go_there_and_back_and_are_null_where_none_were_asked_for(make_object, make_view, tmp_path):
    item = make_object("a")
    plain, rich = make_view(item, 0), make_view(item, 1)
    rich = replace(rich, extras=Extras(mask=b"m", depth=b"d", depth_scale=0.5, normals=None))
    table = [schema.view_row(view, split="train") for view in (plain, rich)]
    first, second = through_parquet(table, schema.VIEW_SCHEMA, tmp_path)
    assert [first[name] for name in ("mask", "depth", "depth_scale", "normals")] == [None] * 4
    assert second["depth"] == {"bytes": b"d", "path": f"{item.uid}/001-depth.png"}
    assert schema.view_from_row(first, item).extras is None
    assert schema.view_from_row(second, item).extras == rich.extras


def test_an_unknown_pose_is_null_in_every_camera_column(make_object, make_view, make_camera, tmp_path: Path):
    item = make_object("a")
    row = schema.view_row(make_view(item, 0, camera=None), split="train")
    posed = schema.view_row(make_view(item, 1, camera=make_camera()), split="train")
    first, second = through_parquet([row, posed], schema.VIEW_SCHEMA, tmp_path)
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
    assert schema.view_from_row(first, item).camera is None


def test_the_field_of_view_is_the_horizontal_one_in_degrees(make_object, make_view, make_camera):
    row = schema.view_row(make_view(make_object("a"), 0, camera=make_camera()), split="train")
    assert row["fov_deg"] == pytest.approx(2 * np.degrees(np.arctan(32 / 2 / 35)), abs=1e-9)  # 35 mm on 32 mm


def test_a_caption_adds_its_columns(make_object, make_view, tmp_path: Path):
    view = make_view(make_object("a"), 0)
    quality = CaptionQuality("plural", None, ("cut",))
    added = schema.caption_columns(
        CaptionedView(view, "a chair", "Write", quality, retried=True, clip_score=0.25), captioner="fake:1"
    )
    row = schema.view_row(view, split="train") | added
    assert set(row) | {"duplicate_of"} == set(COLUMNS)
    (read,) = through_parquet([row], schema.VIEW_SCHEMA, tmp_path)
    assert {name: read[name] for name in added} == {
        **{"caption": "a chair", "prompt": "Write", "captioner": "fake:1", "category_match": "plural"},
        **{"other_category": None, "caption_flags": ["cut"], "caption_retried": True, "clip_score": 0.25},
    }


def test_an_unjudged_caption_is_told_from_one_without_flags(make_object, make_view):
    view = make_view(make_object("a"), 0)
    flags = [
        schema.caption_columns(CaptionedView(view, "a chair", "Write", quality), captioner="x")[
            "caption_flags"
        ]
        for quality in (None, CaptionQuality("exact", None, ()))
    ]
    assert flags == [None, []]


@pytest.mark.parametrize("source_id", ["a", "../../x\0\nß🪑", "x" * 300])
@pytest.mark.parametrize("rotation", [None, (1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.1)])
def test_a_planned_object_survives_its_row_exactly(make_object, source_id: str, rotation, tmp_path: Path):
    record = replace(make_object(source_id).record, rotation=rotation, front_azimuth_deg=270.1, creator=None)
    item = SelectedObject(record, "a | b` <script>", similarity=0.123456789012345)
    (row,) = through_parquet([schema.planned_row(item, 3)], schema.PLANNED_SCHEMA, tmp_path)
    assert schema.planned_from_row(row) == item
    assert row["shard"] == 3


def test_a_failure_keeps_every_field(tmp_path: Path):
    rejected = Rejected("u", "render", CRASH, "died", 4, attempts=3, signal="SIGSEGV", log_tail="…")
    (row,) = through_parquet([schema.failure_row(rejected)], schema.FAILURE_SCHEMA, tmp_path)
    assert Rejected(**row) == rejected


# metadata


@pytest.mark.parametrize(
    "kind", [schema.VIEW_SCHEMA, schema.OBJECT_SCHEMA, schema.FAILURE_SCHEMA, schema.PLANNED_SCHEMA]
)
def test_the_features_for_datasets_describe_every_column(kind: pa.Schema):
    from datasets import Features

    features = Features.from_dict(json.loads(kind.metadata[b"huggingface"])["info"]["features"])
    assert list(features) == kind.names
    assert features.arrow_schema.types == kind.types


def test_the_camera_convention_stands_in_the_file_itself():
    for name in ("camera_to_world", "azimuth_deg", "fx"):
        assert b"OpenGL" in schema.VIEW_SCHEMA.field(name).metadata[b"description"]


def test_our_own_and_older_versions_are_read():
    schema.check_version(schema.VIEW_SCHEMA, "x.parquet")
    schema.check_version(schema.VIEW_SCHEMA.with_metadata({"mvcap_schema": "1"}), "x.parquet")


@pytest.mark.parametrize("metadata", [None, {}, {"mvcap_schema": ""}, {"mvcap_schema": "new"}])
def test_a_file_that_mvcap_did_not_write_is_refused(metadata: dict[str, str] | None):
    with pytest.raises(CorruptDatasetError, match=r"x\.parquet was not written by mvcap"):
        schema.check_version(schema.VIEW_SCHEMA.with_metadata(metadata), "x.parquet")


def test_a_file_of_a_newer_version_is_refused():
    newer = schema.VIEW_SCHEMA.with_metadata({"mvcap_schema": str(schema.SCHEMA_VERSION + 1)})
    with pytest.raises(CorruptDatasetError, match="reads up to"):
        schema.check_version(newer, "x.parquet")


# other readers


@pytest.fixture(scope="module")
def dataset(make_dataset):
    """Twelve objects of three views in shards of two, finished; readers must not take the name for data."""
    names = [f"object {index}" for index in range(12)]
    return make_dataset(names, splits={"train": 0.7, "test": 0.3}, folder="a=b c%20ü").finish()


@pytest.fixture
def assert_whole(dataset, make_picture) -> Callable[[Iterable[Row]], None]:
    """Check that every view is there once, with its own pixels, in its object's split."""
    splits = {uid: shard.split for shard in dataset.plan.shards for uid in shard.uids}
    assert set(splits.values()) == {"train", "test"}

    def check(rows: Iterable[Row]) -> None:
        listed = list(rows)
        found = {(uid, index): (split, pixels) for uid, index, split, pixels in listed}
        assert len(listed) == len(found)
        assert found.keys() == {(uid, index) for uid in dataset.objects for index in range(3)}
        for (uid, index), (split, pixels) in found.items():
            assert split == splits[uid]
            np.testing.assert_array_equal(pixels, np.asarray(make_picture(index)))

    return check


def decoded(image: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(image["bytes"])))


def test_pyarrow_reads_it(dataset, assert_whole):
    rows = pq.read_table(dataset.store.root / "data").to_pylist()
    assert_whole([(r["uid"], r["view_index"], r["split"], decoded(r["image"])) for r in rows])
    assert list(rows[0]) == COLUMNS


def test_pandas_reads_it(dataset, assert_whole):
    frame = pd.read_parquet(dataset.store.root / "data")
    assert list(frame.columns) == COLUMNS
    rows = zip(frame["uid"], frame["view_index"], frame["split"], map(decoded, frame["image"]), strict=True)
    assert_whole(list(rows))


def test_polars_reads_it(dataset, assert_whole):
    frame = pl.scan_parquet(dataset.store.root / "data" / "*.parquet", hive_partitioning=False).collect()
    assert frame.columns == COLUMNS
    rows = [(r["uid"], r["view_index"], r["split"], decoded(r["image"])) for r in frame.iter_rows(named=True)]
    assert_whole(rows)


def test_duckdb_reads_it(dataset, assert_whole):
    import duckdb

    files = [str(path) for path in sorted((dataset.store.root / "data").glob("*.parquet"))]
    with duckdb.connect(config={"threads": 1}) as connection:
        query = "SELECT uid, view_index, split, image FROM read_parquet($files, hive_partitioning = false)"
        found = connection.execute(query, {"files": files}).fetchall()
    assert_whole([(uid, index, split, decoded(image)) for uid, index, split, image in found])


def test_datasets_reads_it_with_decoded_images_and_splits(dataset, assert_whole, make_camera, tmp_path: Path):
    from datasets import Image as ImageFeature
    from datasets import load_dataset

    loaded = load_dataset("parquet", data_files=data_files(dataset), cache_dir=str(tmp_path))
    assert isinstance(loaded["train"].features["image"], ImageFeature)
    rows = [
        (row["uid"], row["view_index"], row["split"], np.asarray(row["image"]))
        for split in loaded.values()
        for row in split
    ]
    assert_whole(rows)
    assert all({row["split"] for row in rows} == {name} for name, rows in loaded.items())
    assert loaded["train"][0]["camera_to_world"] == pytest.approx(make_camera().camera_to_world)


def data_files(dataset) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for shard in dataset.plan.shards:
        found.setdefault(shard.split, []).append(str(dataset.store.root / "data" / shard.file_name))
    return found
