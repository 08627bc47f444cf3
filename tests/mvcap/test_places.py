"""What users may call a dataset's place."""

from pathlib import Path

import pytest

from mvcap.errors import UsageError
from mvcap.places import ObjectPlace, parse_place, relative_name, temporary_name


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("dataset", Path("dataset")),
        ("/a/s3:/b", Path("/a/s3:/b")),
        ("s3://bucket", ObjectPlace("bucket")),
        ("s3://bucket/", ObjectPlace("bucket")),
        ("S3://my.bucket-1/a b/ü/", ObjectPlace("my.bucket-1", "a b/ü")),
    ],
)
def test_folders_and_buckets_are_places(text: str, place: object):
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text", ["gs://bucket/x", "hdfs://host/x", "https://host/x", "file:///x", "s3a://b/x"]
)
def test_any_other_url_is_refused_in_one_line_that_names_what_can_be_had(text: str):
    with pytest.raises(UsageError) as caught:
        parse_place(text)
    assert text in str(caught.value)
    assert "S3-compatible storage (s3://bucket/prefix)" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["s3://", "s3:///x", "s3://b/x", "s3://bucket//x", "s3://bucket/../x", "s3://a?b/x"]
)
def test_what_is_no_prefix_of_a_bucket_is_refused_with_an_example(text: str):
    with pytest.raises(UsageError, match="such as s3://my-bucket/datasets/chairs"):
        parse_place(text)


def test_keys_are_joined_and_split_like_paths():
    root = ObjectPlace("bucket", "sets/one")
    file = root / "data" / "train-00000.parquet"
    assert str(file) == "s3://bucket/sets/one/data/train-00000.parquet"
    assert (file.name, file.stem, file.suffix) == ("train-00000.parquet", "train-00000", ".parquet")
    assert file.parent == root / "data"
    assert ObjectPlace("bucket").parent == ObjectPlace("bucket")
    assert str(ObjectPlace("bucket") / "x") == "s3://bucket/x"
    assert file.with_name("other") == root / "data/other"


def test_files_are_named_by_what_comes_after_their_root():
    root = ObjectPlace("bucket", "sets/one")
    assert relative_name(root / "data/x", root) == "data/x"
    assert relative_name(root / "x", ObjectPlace("bucket")) == "sets/one/x"
    assert relative_name(Path("a/b/c"), Path("a")) == "b/c"
    for place, other in [
        (root, ObjectPlace("another", "sets")),
        (ObjectPlace("bucket", "sets/onetwo"), root),
    ]:
        with pytest.raises(ValueError, match="not"):
            relative_name(place, other)
    for place, other in [(root, Path("x")), (Path("x"), root)]:
        with pytest.raises(ValueError, match="is not inside"):
            relative_name(place, other)  # type: ignore[arg-type]


def test_temporary_names_are_unique_and_beside_their_object():
    names = {temporary_name(ObjectPlace("bucket", "a/x.json")) for _ in range(100)}
    assert len(names) == 100
    assert {name.parent for name in names} == {ObjectPlace("bucket", "a")}
    assert all(name.name.startswith(".attempt-") and name.name.endswith("-x.json") for name in names)
