import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvcap.errors import BAD_ASSET, AssetFolderError
from mvcap.pictures import UnusableInputError
from mvcap.records import Rejected, SelectedObject
from mvcap.sources.images import Options, expected_views, list_objects, open_pictures

HOSTILE = ("../secret.jpg", "/etc/passwd", "a\0b.jpg", "x" * 300 + ".jpg", "chairs/../../secret.jpg")


def write_table(root: Path, rows: list[dict[str, object]], suffix: str = "jsonl") -> None:
    path = root / f"metadata.{suffix}"
    if suffix == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows))
    elif suffix == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n\r\n").encode())
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)


def place(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"picture")
    return root


def listed(root: Path, **options: object) -> tuple[dict[str, SelectedObject], dict[str, Rejected]]:
    """Objects by their source's own id, and rejections by uid."""
    items = list(list_objects(Options.model_validate({"path": root, **options})))
    objects = {item.record.source_id: item for item in items if isinstance(item, SelectedObject)}
    return objects, {item.uid: item for item in items if isinstance(item, Rejected)}


def test_without_a_table_the_folder_names_the_category(tmp_path):
    root = place(tmp_path, "coffee_tables/a.jpg", "x/chairs/b.PNG", "chairs/notes.txt", "chairs/.hidden.jpg")
    objects, rejected = listed(root)
    assert {name: item.category for name, item in objects.items()} == {
        "coffee_tables/a.jpg": "coffee tables",
        "x/chairs/b.PNG": "chairs",
    }
    assert rejected == {}


def test_picture_without_any_category_is_rejected(tmp_path):
    objects, rejected = listed(place(tmp_path, "a.jpg", "___/b.jpg"))
    assert objects == {}
    assert [item.reason for item in rejected.values()] == [BAD_ASSET] * 2
    assert all("has no category" in item.message for item in rejected.values())


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_table_names_category_licence_and_origin(tmp_path, suffix):
    place(tmp_path, "a.jpg", "b.jpg")
    rows = [
        {"file_name": "a.jpg", "category": "007", "license": "CC0-1.0", "creator": "me", "text": "ignored"},
        {"file_name": "./b.jpg", "category": "стул", "license": "", "creator": "", "text": ""},
    ]
    write_table(tmp_path, rows, suffix)
    objects, rejected = listed(tmp_path, license="CC-BY-4.0")
    assert rejected == {}
    assert {name: item.category for name, item in objects.items()} == {"a.jpg": "007", "b.jpg": "стул"}
    assert (objects["a.jpg"].record.license, objects["a.jpg"].record.creator) == ("CC0-1.0", "me")
    assert (objects["b.jpg"].record.license, objects["b.jpg"].record.creator) == ("CC-BY-4.0", None)


def test_pictures_of_one_uid_are_views_of_one_object(tmp_path):
    place(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    named = [{"file_name": "2.jpg", "view_index": 7}, {"file_name": "1.jpg", "view_index": 3}]
    numbered = [{"file_name": "4.jpg"}, {"file_name": "3.jpg"}]
    write_table(
        tmp_path,
        [{"category": "chair", "uid": "thonet", **row} for row in named]
        + [{"category": "cup", "uid": "mug", **row} for row in numbered],
    )
    objects, _ = listed(tmp_path)
    assert sorted(objects) == ["mug", "thonet"]
    find, count = open_pictures(Options(path=tmp_path)), expected_views(Options(path=tmp_path))
    views = {name: [(view.view_index, view.name) for view in find(item)] for name, item in objects.items()}
    assert [count(item) for item in objects.values()] == [2, 2]
    assert views == {"thonet": [(3, "1.jpg"), (7, "2.jpg")], "mug": [(0, "3.jpg"), (1, "4.jpg")]}


@pytest.mark.parametrize("name", HOSTILE)
def test_name_that_leads_elsewhere_is_rejected_and_never_opened(tmp_path, name):
    root = place(tmp_path / "root", "good.jpg")
    place(tmp_path, "secret.jpg")
    write_table(root, [{"file_name": name, "category": "a"}, {"file_name": "good.jpg", "category": "b"}])
    objects, rejected = listed(root)
    assert list(objects) == ["good.jpg"]
    ((uid, item),) = rejected.items()
    assert "which is no file" in item.message
    assert "/" not in uid
    assert len(uid) < 80
    find = open_pictures(Options(path=root))
    item = objects["good.jpg"]
    hostile = replace(item, record=replace(item.record, uid=uid, source_id=PurePosixPath(name).as_posix()))
    assert [view.content for view in find(hostile)] == [None]
    with pytest.raises(UnusableInputError, match="no longer there"):
        find(replace(item, record=replace(item.record, source_id="forgotten.jpg")))


def test_missing_view_of_an_object_leaves_the_object(tmp_path):
    place(tmp_path, "1.jpg")
    rows = [{"file_name": f"{index}.jpg", "category": "chair", "uid": "a"} for index in (1, 2)]
    write_table(tmp_path, rows)
    objects, rejected = listed(tmp_path)
    assert (list(objects), rejected) == (["a"], {})
    views = open_pictures(Options(path=tmp_path))(objects["a"])
    assert [view.content is None for view in views] == [False, True]


def test_picture_that_the_table_leaves_out_is_rejected(tmp_path):
    place(tmp_path, "a.jpg", "b.jpg", "readme.txt")
    write_table(tmp_path, [{"file_name": "a.jpg", "category": "chair"}])
    _, rejected = listed(tmp_path)
    assert [item.message for item in rejected.values()] == ["the table has no row for 'b.jpg'"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"file_name": "a", "category": "x"}, {"file_name": "a", "category": "y"}], "names 'a' twice"),
        (
            [{"file_name": name, "category": "x", "uid": "u", "view_index": 1} for name in "ab"],
            "no two the same",
        ),
        (
            [{"file_name": "a", "uid": "u", "view_index": 1}, {"file_name": "b", "uid": "u"}],
            "need a view_index each",
        ),
        ([{"file_name": name, "category": name, "uid": "u"} for name in "ab"], "several categories"),
        ([{"file_name": "a", "view_index": "1.5"}], "no whole number"),
        ([{"file_name": "a", "view_index": -1}], "no whole number"),
        ([{"file": "a"}], "must have the column file_name; it has file"),
    ],
)
def test_contradiction_is_an_error_that_shows_it(tmp_path, rows, said):
    write_table(place(tmp_path, "a", "b"), rows)
    with pytest.raises(AssetFolderError, match=said):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.jsonl", b"{"),
        ("metadata.jsonl", b"[]"),
        ("metadata.jsonl", b"\xff\xfe"),
        ("metadata.csv", b"file_name,category\na.jpg,red, round chair\n"),
        ("metadata.parquet", b"PAR1"),
    ],
)
def test_damaged_table_is_an_error_that_names_it(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AssetFolderError, match=name):
        listed(tmp_path)


def test_two_tables_are_one_too_many(tmp_path):
    for suffix in ("csv", "jsonl"):
        write_table(tmp_path, [{"file_name": "a", "category": "b"}], suffix)
    with pytest.raises(AssetFolderError, match=r"metadata\.csv and metadata\.jsonl"):
        listed(tmp_path)


def test_name_that_is_not_utf8_is_rejected(tmp_path):
    (tmp_path / "chairs").mkdir()
    (tmp_path / "chairs" / "\udcff.jpg").write_bytes(b"x")
    objects, rejected = listed(tmp_path)
    assert objects == {}
    assert "not UTF-8" in next(iter(rejected.values())).message
