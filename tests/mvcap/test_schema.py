"""What the schemas say of themselves, and the written files in the hands of other libraries."""

import json
from collections.abc import Callable, Iterable
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
from mvcap.errors import CorruptDatasetError

COLUMNS = schema.VIEW_SCHEMA.names
Row = tuple[str, int, str, np.ndarray]
"""uid, view index, split, pixels."""


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
