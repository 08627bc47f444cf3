"""The layout of the Parquet files: read off their own metadata."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvcap import schema
from mvcap.tables import TableWriter


@pytest.fixture
def written(make_dataset, tmp_path) -> pq.ParquetFile:
    dataset = make_dataset(["a", "b", "c"], per_shard=3)
    dataset.write(tmp_path / "shard.parquet", dataset.plan.shards[0], views=4, caption="a chair")
    return pq.ParquetFile(tmp_path / "shard.parquet")


def columns_of(file: pq.ParquetFile) -> dict[str, pq.ColumnChunkMetaData]:
    group = file.metadata.row_group(0)
    chunks = [group.column(index) for index in range(group.num_columns)]
    return {chunk.path_in_schema: chunk for chunk in chunks}


def test_each_object_is_one_row_group(written: pq.ParquetFile):
    uids = [set(written.read_row_group(group)["uid"].to_pylist()) for group in range(written.num_row_groups)]
    assert [len(group) for group in uids] == [1, 1, 1]
    assert len(set().union(*uids)) == 3
    assert [written.metadata.row_group(group).num_rows for group in range(3)] == [4, 4, 4]


def test_pictures_are_stored_as_they_are_and_the_rest_is_compressed(written: pq.ParquetFile):
    codecs = {path: chunk.compression for path, chunk in columns_of(written).items()}
    pictures = {f"{name}.bytes" for name in ("image", "mask", "depth", "normals")}
    assert {codecs.pop(name) for name in pictures} == {"UNCOMPRESSED"}
    assert set(codecs.values()) == {"ZSTD"}


def test_text_columns_have_dictionaries_and_every_column_a_page_index(written: pq.ParquetFile):
    for path, chunk in columns_of(written).items():
        assert chunk.has_offset_index, path
        assert chunk.has_column_index or path.endswith(".bytes"), path
    assert columns_of(written)["category"].has_dictionary_page


def test_a_flipped_byte_passes_a_plain_read_and_fails_the_page_checksum(written, tmp_path):
    path = tmp_path / "shard.parquet"
    content = bytearray(path.read_bytes())
    picture = written.read_row_group(1)["image"][2]["bytes"].as_py()
    content[content.index(picture) + len(picture) // 2] ^= 1
    path.write_bytes(content)
    assert pq.read_table(path).num_rows == 12
    with pytest.raises(OSError, match=r"CRC|checksum"):
        pq.read_table(path, page_checksum_verification=True)


def test_a_missing_column_is_null_and_an_empty_group_leaves_no_trace(tmp_path):
    with TableWriter(tmp_path / "t.parquet", schema.FAILURE_SCHEMA) as writer:
        writer.write([])
        writer.write([{"uid": "a", "stage": "render", "reason": "crash", "attempts": 1, "message": "m"}])
        writer.write([])
    assert writer.rows == 1
    file = pq.ParquetFile(tmp_path / "t.parquet")
    assert file.num_row_groups == 1
    assert file.read().to_pylist()[0]["signal"] is None


def test_a_table_without_rows_is_still_a_readable_file(tmp_path):
    with TableWriter(tmp_path / "t.parquet", schema.VIEW_SCHEMA):
        pass
    assert pq.read_table(tmp_path / "t.parquet").schema.names == schema.VIEW_SCHEMA.names


def test_equal_rows_give_equal_bytes(make_dataset, tmp_path):
    dataset = make_dataset()
    for name in ("first", "second"):
        dataset.write(tmp_path / name, dataset.plan.shards[0], caption="a chair")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_null_in_a_required_column_is_an_error(tmp_path):
    with (
        TableWriter(tmp_path / "t.parquet", schema.FAILURE_SCHEMA) as writer,
        pytest.raises((pa.ArrowException, ValueError)),
    ):
        writer.write([{"uid": None, "stage": "render", "reason": "crash", "attempts": 1, "message": "m"}])
