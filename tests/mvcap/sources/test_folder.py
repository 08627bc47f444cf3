"""Any folder of models, as people really have them."""

import os
from pathlib import Path
from typing import Any

import pytest

from mvcap.errors import BAD_ASSET, AssetFolderError
from mvcap.records import Rejected, SelectedObject
from mvcap.sources.folder import Options, list_objects


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    for name in ("chairs/old_chair-01.glb", "chairs/b.OBJ", "red_Lamp-07.stl", "notes.txt", "scene.blend"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"model")
    return root


def listed(root: Path, **options: Any) -> tuple[dict[str, SelectedObject], list[Rejected]]:
    items = list(list_objects(Options(path=root, **options)))
    objects = [item for item in items if isinstance(item, SelectedObject)]
    assert len({item.uid for item in items}) == len(items)
    return {item.record.source_id: item for item in objects}, [i for i in items if isinstance(i, Rejected)]


def write_labels(root: Path, text: str | bytes) -> None:
    (root / "labels.csv").write_bytes(text.encode() if isinstance(text, str) else text)


def test_every_model_file_is_listed_and_nothing_else(folder: Path):
    objects, rejected = listed(folder)
    assert list(objects) == ["chairs/b.OBJ", "chairs/old_chair-01.glb", "red_Lamp-07.stl"]
    assert rejected == []
    assert objects["chairs/b.OBJ"].record.asset == str(folder / "chairs" / "b.OBJ")


def test_without_a_label_the_category_is_the_sub_folder_or_the_name(folder: Path):
    objects, _ = listed(folder)
    assert objects["chairs/old_chair-01.glb"].category == "chairs"
    assert objects["red_Lamp-07.stl"].category == "red lamp"


@pytest.mark.parametrize(("name", "category"), [("123.glb", "123"), ("стул2.glb", "стул")])
def test_a_category_is_never_empty(tmp_path: Path, name: str, category: str):
    (tmp_path / name).write_bytes(b"x")
    (item,) = listed(tmp_path)[0].values()
    assert item.category == category


def test_hidden_files_and_folders_are_skipped(folder: Path):
    for name in (".hidden.glb", "._chairs.glb", ".git/x.glb", "chairs/.cache/x.glb"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert len(listed(folder)[0]) == 3


def test_labels_with_byte_order_mark_crlf_blank_lines_and_spaces_are_read(folder: Path):
    write_labels(
        folder,
        "\ufeffpath,category,license,creator,source_url\r\n"
        "\r\n"
        'chairs/b.OBJ, arm chair ,CC-BY-4.0,"Lovelace, Ada",https://example.org/b\r\n'
        ",,,,\r\n"
        "./red_Lamp-07.stl,lamp,,,\r\n"
        "\r\n",
    )
    objects, rejected = listed(folder, license="CC0-1.0")
    chair, lamp = objects["chairs/b.OBJ"], objects["red_Lamp-07.stl"]
    assert rejected == []
    assert (chair.category, chair.record.license, chair.record.creator) == (
        "arm chair",
        "CC-BY-4.0",
        "Lovelace, Ada",
    )
    assert chair.record.source_url == "https://example.org/b"
    assert (lamp.category, lamp.record.license, lamp.record.creator) == ("lamp", "CC0-1.0", None)


def test_a_label_may_have_fewer_columns_and_shorter_rows(folder: Path):
    write_labels(folder, "path,category,creator\nchairs/b.OBJ\nred_Lamp-07.stl,lamp,Ada\n")
    objects, _ = listed(folder)
    assert objects["chairs/b.OBJ"].category == "chairs"
    assert objects["red_Lamp-07.stl"].record.creator == "Ada"


def test_a_labelled_file_that_is_missing_is_rejected_by_name(folder: Path):
    gone = ("chairs/gone.glb", "notes.txt", "../outside.glb", "/etc/passwd")
    write_labels(folder, "path,category\n" + "".join(f"{name},x\n" for name in gone))
    objects, rejected = listed(folder)
    assert len(objects) == 3
    assert {item.reason for item in rejected} == {BAD_ASSET}
    assert {item.stage for item in rejected} == {"list"}
    named = "".join(item.message for item in rejected)
    assert all(name in named for name in gone)


def test_contradictory_labels_are_refused_and_both_are_shown(folder: Path):
    write_labels(folder, "path,category\nchairs/b.OBJ,chair\n./chairs//b.OBJ,stool\n")
    with pytest.raises(AssetFolderError, match=r"'chairs/b\.OBJ' twice: .*'chair'.* and .*'stool'"):
        listed(folder)


def test_the_same_label_twice_is_no_contradiction(folder: Path):
    write_labels(folder, "path,category\nchairs/b.OBJ,chair\n./chairs/b.OBJ,chair\n")
    assert listed(folder)[0]["chairs/b.OBJ"].category == "chair"


@pytest.mark.parametrize(
    ("labels", "part"),
    [
        ("category\n", "has no column 'path'"),
        ("path,categroy\n", "unknown column 'categroy'; did you mean 'category'"),
        ("", "has no column 'path'"),
        ("path,creator\nchairs/b.OBJ,Lovelace, Ada\n", "line 2: more cells than columns"),
        (b"path,category\nchairs/b.OBJ,\xff\xfe\n", "cannot read the labels"),
        ("path,category\n" + "x" * 200_000 + ",chair\n", "cannot read the labels"),
    ],
)
def test_labels_that_cannot_be_understood_are_refused(folder: Path, labels: str | bytes, part: str):
    write_labels(folder, labels)
    with pytest.raises(AssetFolderError, match=part):
        listed(folder)


def test_a_comma_at_the_end_of_a_line_is_harmless(folder: Path):
    write_labels(folder, "path,category\nchairs/b.OBJ,chair,\n")
    assert listed(folder)[0]["chairs/b.OBJ"].category == "chair"


def test_labels_may_lie_elsewhere_but_must_then_exist(folder: Path, tmp_path: Path):
    (tmp_path / "mine.csv").write_text("path,category\nchairs/b.OBJ,seat\n")
    assert listed(folder, labels=tmp_path / "mine.csv")[0]["chairs/b.OBJ"].category == "seat"
    with pytest.raises(AssetFolderError, match="there is no label file"):
        listed(folder, labels=tmp_path / "missing.csv")


@pytest.mark.parametrize("name", ["missing", "file.glb"])
def test_what_is_no_folder_is_refused_before_anything_else(tmp_path: Path, name: str):
    (tmp_path / "file.glb").write_bytes(b"x")
    with pytest.raises(AssetFolderError, match="give the folder that holds your 3D models"):
        listed(tmp_path / name)


def test_a_sub_folder_that_cannot_be_read_is_an_error_and_not_skipped(folder: Path):
    """Permissions do not bind root; the kernel's limit on the length of a path binds everyone."""
    inner = os.open(folder, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("x" * 250, dir_fd=inner)
        outer, inner = inner, os.open("x" * 250, os.O_RDONLY, dir_fd=inner)
        os.close(outer)
    os.close(inner)
    with pytest.raises(AssetFolderError, match=r"cannot read .*models/xxx.*: File name too long"):
        listed(folder)


def test_a_file_name_that_is_not_utf8_is_rejected_and_the_others_are_listed(folder: Path):
    Path(os.fsdecode(os.fsencode(folder) + b"/latin-\xe9.glb")).write_bytes(b"x")
    objects, (rejected,) = listed(folder)
    assert len(objects) == 3
    assert rejected.reason == BAD_ASSET
    assert r"latin-\udce9.glb" in rejected.message
    rejected.message.encode()


@pytest.mark.parametrize(
    "name", ["a\nb.glb", "a .glb", "a'b\"c.glb", "$(id).glb", "ü🪑.glb", "x" * 200 + ".glb"]
)
def test_strange_file_names_are_kept_as_ids_and_never_become_paths(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"x")
    (item,) = listed(tmp_path)[0].values()
    assert item.record.source_id == name
    assert Path(item.record.asset).read_bytes() == b"x"
    assert item.uid.replace("-", "").isalnum()


def test_moving_the_folder_keeps_the_uids(folder: Path, tmp_path: Path):
    before = {item.uid for item in listed(folder)[0].values()}
    assert {item.uid for item in listed(folder.rename(tmp_path / "moved"))[0].values()} == before


def test_linked_folders_are_followed_once(tmp_path):
    folder = tmp_path / "models"
    (folder / "real").mkdir(parents=True)
    (folder / "real" / "a.obj").write_text("v 0 0 0\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.obj").write_text("v 0 0 0\n")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "real" / "loop").symlink_to(folder)
    listed = sorted(item.record.source_id for item in list_objects(Options(path=folder)))
    assert listed == ["linked/b.obj", "real/a.obj"]


def test_a_category_without_a_word_and_a_pipe_are_rejected_by_name(tmp_path):
    (tmp_path / " .obj").write_text("v 0 0 0\n")
    (tmp_path / "good.obj").write_text("v 0 0 0\n")
    os.mkfifo(tmp_path / "pipe.glb")
    listed = list(list_objects(Options(path=tmp_path)))
    rejected = {item.message for item in listed if isinstance(item, Rejected)}
    assert rejected == {
        "the category ' ' holds no word; name one in labels.csv",
        "'pipe.glb' is not a regular file",
    }
    assert [item.category for item in listed if isinstance(item, SelectedObject)] == ["good"]
