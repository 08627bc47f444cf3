"""A Lance table holds what the Parquet files hold, in their order, and gives any row of it."""

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvcap import schema
from mvcap.exports import _chosen
from pipelines.build_all import build
from pipelines.exporting import export_dataset
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request


@pytest.fixture
def dataset(models, fake_config, tmp_path):
    config = fake_config(
        models("chair/a", "cup/b", "lamp/c"), render__extras="[mask]", plan__objects_per_shard="1"
    )
    build(config, Request(tmp_path / "dataset"), LocalRunner(), lambda _: None)
    return tmp_path / "dataset"


def test_lance_gives_back_every_column_of_every_view(dataset, tmp_path):
    export_dataset(dataset, "lance", tmp_path / "out")
    written = pa.concat_tables(pq.read_table(path) for path in sorted((dataset / "data").glob("*")))
    views = lance.dataset(tmp_path / "out/views.lance")
    assert views.schema.equals(schema.VIEW_SCHEMA)
    assert views.schema.metadata == schema.VIEW_SCHEMA.metadata
    assert views.to_table().to_pylist() == written.to_pylist()
    assert views.take([7, 2], columns=["uid", "image"]).to_pylist() == [
        {name: written.to_pylist()[row][name] for name in ("uid", "image")} for row in (7, 2)
    ]
    assert views.version == 1


def test_columns_that_an_older_version_did_not_have_are_null(dataset, tmp_path, monkeypatch):
    read = _chosen.open_table

    def without_duplicates(path):
        if path.name == "objects.parquet":
            return read(path)
        old = pq.read_table(path).drop_columns(["duplicate_of", "flags"])
        pq.write_table(old, tmp_path / "old.parquet", row_group_size=3)
        return read(tmp_path / "old.parquet")

    monkeypatch.setattr(_chosen, "open_table", without_duplicates)
    export_dataset(dataset, "lance", tmp_path / "out")
    found = lance.dataset(tmp_path / "out/views.lance").to_table(columns=["uid", "duplicate_of", "flags"])
    assert len(found) == 9
    assert found["duplicate_of"].null_count == found["flags"].null_count == 9
