"""ImageNet as folders and as webdataset tars: every picture an object of its own."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from mvcap.errors import AssetFolderError
from mvcap.imagenet_names import default_names, read_names
from mvcap.pictures import UnusableInputError
from mvcap.records import Rejected, SelectedObject
from mvcap.sources.imagenet import Options, list_objects, open_pictures


def jpeg(colour: str) -> bytes:
    Image.new("RGB", (8, 8), colour).save(buffer := io.BytesIO(), "JPEG")
    return buffer.getvalue()


def tar(path: Path, entries: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_names_are_those_of_the_classes_and_tell_the_two_cranes_apart():
    names = default_names()
    assert len(names) == 1000
    known = {
        "n01440764": "tench",
        "n02012849": "crane bird",
        "n03126707": "construction crane",
        "n02510455": "giant panda",
    }
    assert {wnid: names[wnid] for wnid in known} == known
    assert names["n01608432"] == "kite bird"
    assert not [name for name in names.values() if set(name) & set("()/_")]


def test_a_file_of_names_may_stand_in(tmp_path):
    path = tmp_path / "LOC_synset_mapping.txt"
    path.write_bytes(b"n01440764 tench, Tinca tinca\r\n\r\nn02012849 crane\r\n")
    assert read_names(path) == {"n01440764": "tench", "n02012849": "crane"}
    path.write_bytes(b"tench n01440764\n")
    with pytest.raises(AssetFolderError, match="no line of a wnid"):
        read_names(path)


def test_each_picture_of_a_folder_is_an_object(tmp_path):
    for name in (
        "n01440764/n01440764_2.JPEG",
        "n01440764/n01440764_1.JPEG",
        "n99999999/a.JPEG",
        "other/b.JPEG",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg("red"))
    (tmp_path / "n01440764" / "notes.txt").write_text("x")
    options = Options(path=tmp_path)
    items = list(list_objects(options))
    objects = [item for item in items if isinstance(item, SelectedObject)]
    assert [(item.record.source_id, item.category) for item in objects] == [
        ("n01440764/n01440764_1.JPEG", "tench"),
        ("n01440764/n01440764_2.JPEG", "tench"),
    ]
    assert [item.message for item in items if isinstance(item, Rejected)] == [
        "there is no name for n99999999"
    ]
    (picture,) = open_pictures(options)(objects[0])
    assert picture.content.read() == jpeg("red")


def test_samples_of_a_tar_are_read_where_they_lie(tmp_path):
    entries = {
        "a/000.jpg": jpeg("red"),
        "a/000.cls": b"389",
        "a/000.json": b"{}",
        "n02510455_7.jpeg": jpeg("blue"),
        "../../n01440764_9.jpg": jpeg("green"),
        "odd.jpg": jpeg("red"),
        "far.cls": b"1000",
        "far.jpg": jpeg("red"),
        "blind.cls": b"0",
    }
    path = tar(tmp_path / "train-0.tar", entries)
    options = Options(path=tmp_path)
    items = list(list_objects(options))
    objects = {i.record.source_id: i for i in items if isinstance(i, SelectedObject)}
    assert {name: item.category for name, item in objects.items()} == {
        "train-0.tar/a/000": default_names()[sorted(default_names())[389]],
        "train-0.tar/n02510455_7": "giant panda",
        "train-0.tar/../../n01440764_9": "tench",
    }
    assert len([item for item in items if isinstance(item, Rejected)]) == 3
    find = open_pictures(options)
    assert find(objects["train-0.tar/n02510455_7"])[0].content.read() == jpeg("blue")
    assert find(objects["train-0.tar/../../n01440764_9"])[0].content.read() == jpeg("green")
    tar(path, {"other.jpg": jpeg("red")})
    with pytest.raises(UnusableInputError, match="no longer there"):
        open_pictures(options)(objects["train-0.tar/a/000"])


@pytest.mark.parametrize("damage", ["cut", "compressed", "noise"])
def test_a_tar_that_cannot_be_read_in_place_is_named(tmp_path, damage):
    path = tar(
        tmp_path / "a.tar", {"n01440764_1.jpg": jpeg("red") * 99}, "w:gz" if damage == "compressed" else "w"
    )
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:900])
    if damage == "noise":
        path.write_bytes(bytes(range(256)) * 9)
    with pytest.raises(AssetFolderError, match=r"a\.tar"):
        list(list_objects(Options(path=tmp_path)))


def test_links_in_a_tar_are_no_pictures(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        entry = tarfile.TarInfo("n01440764_1.jpg")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    assert list(list_objects(Options(path=tmp_path))) == []
