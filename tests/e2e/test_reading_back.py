"""A dataset is read by the libraries people use: images decode, nothing is twice, splits are by object."""

import io
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

OBJECTS, VIEWS = 16, 3


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """A small dataset of two splits, with one object that failed."""
    from mvcap import plugins, recipes

    root = tmp_path_factory.mktemp("reading")
    for index in range(OBJECTS):
        path = root / "models" / f"kind {index % 4}" / f"{index}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {index}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    settings = {
        "sources": [{"source": "folder", "options": {"path": str(root / "models"), "license": "CC0-1.0"}}],
        "plan": {"objects_per_shard": 3, "splits": {"train": 0.5, "test": 0.5}},
        "render": {
            "backend": "fake",
            "views": VIEWS,
            "resolution": 40,
            "options": {"fail": {"/13.obj": "crash"}},
        },
        "captions": {"backend": "fake"},
    }
    config = recipes.build_config(settings, plugins.options_model)
    outcome = build(config, Request(root / "out"), LocalRunner(), print)
    assert outcome.views == (OBJECTS - 1) * VIEWS
    return root / "out"


def check_frame(frame: pd.DataFrame) -> None:
    assert len(frame) == (OBJECTS - 1) * VIEWS
    assert not frame.duplicated(["uid", "view_index"]).any()
    assert (frame.groupby("uid")["split"].nunique() == 1).all()
    assert set(frame["split"]) == {"train", "test"}
    assert frame["caption"].str.len().min() > 0
    for image in frame["image"]:
        assert Image.open(io.BytesIO(image["bytes"])).size == (40, 40)


def test_pandas(dataset):
    check_frame(pd.concat(pd.read_parquet(path) for path in (dataset / "data").glob("*.parquet")))


def test_polars(dataset):
    frame = pl.read_parquet(dataset / "data/*.parquet")
    check_frame(pd.DataFrame(frame.to_dicts()))
    assert frame.schema["camera_to_world"] == pl.List(pl.Float32)


def test_duckdb(dataset):
    counted = duckdb.sql(
        f"SELECT split, count(*), count(DISTINCT uid), count(DISTINCT (uid, view_index)), "
        f"sum(octet_length(image.bytes)) > 0 FROM '{dataset}/data/*.parquet' GROUP BY split"
    ).fetchall()
    assert {split for split, *_ in counted} == {"train", "test"}
    assert sum(rows for _, rows, *_ in counted) == (OBJECTS - 1) * VIEWS
    assert all(rows == keys == VIEWS * uids and has_bytes for _, rows, uids, keys, has_bytes in counted)


def test_datasets_loads_the_folder_with_decoded_images_captions_and_cameras(dataset, tmp_path):
    import datasets

    loaded = datasets.load_dataset(str(dataset), cache_dir=str(tmp_path))
    assert set(loaded) == {"train", "test"}
    rows = [row for split in loaded.values() for row in split]
    assert len({(row["uid"], row["view_index"]) for row in rows}) == len(rows) == (OBJECTS - 1) * VIEWS
    assert {row["uid"] for row in loaded["train"]}.isdisjoint(row["uid"] for row in loaded["test"])
    row = rows[0]
    assert isinstance(row["image"], Image.Image)
    assert row["category"] in row["caption"]
    pose = np.reshape(row["camera_to_world"], (4, 4))
    assert np.linalg.norm(pose[:3, 3]) == pytest.approx(row["distance"], rel=1e-5)
    elevation = np.degrees(np.arcsin(pose[2, 3] / row["distance"]))
    assert elevation == pytest.approx(row["elevation_deg"], abs=1e-3)


def test_datasets_loads_objects_and_failures_too(dataset, tmp_path):
    import datasets

    objects = datasets.load_dataset(str(dataset), "objects", cache_dir=str(tmp_path))["train"]
    failures = datasets.load_dataset(str(dataset), "failures", cache_dir=str(tmp_path))["train"]
    assert len(objects) == OBJECTS
    assert [(row["reason"], row["view_index"]) for row in failures] == [("crash", None)]
    assert {row["license"] for row in objects} == {"CC0-1.0"}


@pytest.mark.ray
def test_ray_data(dataset):
    import ray

    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        check_frame(ray.data.read_parquet(str(dataset / "data")).to_pandas())
    finally:
        ray.shutdown()
