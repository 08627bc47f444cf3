"""Folders and tars for evaluation and clean pictures: which class each picture is, and what it is called."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from mvcap.errors import CorruptDatasetError, EmptyInputError, UsageError
from training.pictures.decoding import decode
from training.pictures.image_folder import FolderPictures
from training.pictures.opening import open_pictures
from training.pictures.tars import TarPictures


def jpeg(colour):
    Image.new("RGB", (8, 8), colour).save(buffer := io.BytesIO(), "JPEG", quality=95)
    return buffer.getvalue()


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg("red"))
    return folder


def tar(path, entries, mode="w"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def labels(pictures):
    return [pictures.table.categories[index] for index in pictures.table.category_index]


def everything(split, uid):
    return True


def test_sets_of_other_pictures_are_told_apart(tmp_path):
    one, other = fill(tmp_path / "1", "cup/a.jpg"), fill(tmp_path / "2", "cup/b.jpg")
    tar(tmp_path / "3" / "0.tar", {"a.jpg": jpeg("red"), "a.cls": b"0"})
    tar(tmp_path / "4" / "0.tar", {"a.cls": b"0", "a.jpg": jpeg("red")})
    for folder in ("3", "4"):
        (tmp_path / folder / "classnames.txt").write_text("cup\n")
    opened = [FolderPictures(one), FolderPictures(other), *(TarPictures(tmp_path / each) for each in "34")]
    assert len({pictures.identity() for pictures in opened}) == 4
    assert FolderPictures(one).identity() == opened[0].identity()
    assert TarPictures(tmp_path / "3").identity() == opened[2].identity()


def test_a_folder_for_each_class_with_clean_names(tmp_path):
    fill(tmp_path, "Ferris_wheel/b.jpg", "Ferris_wheel/deep/a.JPEG", "cup/1.png", "cup/notes.txt")
    pictures = FolderPictures(tmp_path, caption="a photo of a {}.")
    assert [pictures.key(row) for row in range(3)] == [
        "Ferris_wheel/b.jpg",
        "Ferris_wheel/deep/a.JPEG",
        "cup/1.png",
    ]
    assert labels(pictures) == ["Ferris wheel", "Ferris wheel", "cup"]
    assert pictures.table.captions[pictures.table.caption_index[2]] == "a photo of a cup."
    assert pictures.table.objects == 3
    assert np.isnan(pictures.table.azimuth_deg).all()
    assert decode(pictures.read([2])[0], "x").size == (8, 8)


def test_what_a_system_or_an_editor_left_behind_is_no_class_and_no_picture(tmp_path):
    fill(tmp_path, "cup/1.jpg", "cup/._1.jpg", "chair/2.ppm", ".ipynb_checkpoints/2.jpg")
    pictures = FolderPictures(tmp_path)
    assert pictures.table.categories == ("chair", "cup")
    assert [pictures.key(row) for row in range(len(pictures.table))] == ["chair/2.ppm", "cup/1.jpg"]


def test_wnids_have_their_names_and_may_be_some_of_the_thousand(tmp_path):
    fill(tmp_path, "n02012849/a.jpg", "n03126707/b.jpg")
    assert labels(FolderPictures(tmp_path)) == ["crane bird", "construction crane"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("map.json", json.dumps({"0": "office_chair", "1": "cup"})),
        ("map.json", json.dumps(["office_chair", "cup"])),
        ("map.json", json.dumps({"7": ["0", "office_chair"], "8": ["1", "cup"]})),
        ("map.txt", "0 office_chair\n\n1 cup, mug\n"),
    ],
)
def test_a_file_may_name_the_classes(tmp_path, file, content):
    fill(tmp_path / "set", "0/a.jpg", "1/b.jpg")
    (tmp_path / file).write_text(content)
    assert labels(FolderPictures(tmp_path / "set", names=tmp_path / file)) == ["office chair", "cup"]


def test_a_class_without_a_name_is_told(tmp_path):
    fill(tmp_path / "set", "0/a.jpg", "1/b.jpg")
    (tmp_path / "map.json").write_text('{"0": "chair"}')
    with pytest.raises(UsageError, match=r"no name for 1 classes, such as '1'"):
        FolderPictures(tmp_path / "set", names=tmp_path / "map.json")


def test_tars_are_read_in_place_by_number(tmp_path):
    tar(
        tmp_path / "test" / "0.tar",
        {"a/0.cls": b"1\n", "a/0.jpg": jpeg("red"), "b.jpg": jpeg("blue"), "b.cls": b"0", "c.cls": b"0"},
    )
    tar(tmp_path / "test" / "1.tar", {"d.png": jpeg("lime"), "d.cls": b"1", "d.json": b"{}"})
    (tmp_path / "classnames.txt").write_text("chair\ncup\nlamp\n")
    pictures = TarPictures(tmp_path / "test")
    assert [pictures.key(row) for row in range(3)] == ["0.tar/a/0", "0.tar/b", "1.tar/d"]
    assert labels(pictures) == ["cup", "chair", "cup"]
    assert pictures.table.categories == ("chair", "cup", "lamp"), "classes without a picture count as well"
    blue, lime = (decode(picture, "x").getpixel((4, 4)) for picture in pictures.read([1, 2]))
    assert blue[2] > 200 > blue[1]
    assert lime[1] > 200 > lime[2]


@pytest.mark.parametrize("kind", ["number", "wnid"])
def test_a_class_with_a_number_and_a_wnid_is_one_class(tmp_path, kind):
    used = {"number": ("0", "1"), "wnid": ("n01440764", "n01443537")}[kind]
    entries = {
        f"{key}.{suffix}": content
        for key, label in zip("ab", used, strict=True)
        for suffix, content in (("jpg", jpeg("red")), ("cls", label.encode()))
    }
    tar(tmp_path / "set" / "0.tar", entries)
    names = {"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"], "2": ["n01484850", "shark"]}
    (tmp_path / "index.json").write_text(json.dumps(names))
    pictures = TarPictures(tmp_path / "set", names=tmp_path / "index.json")
    assert pictures.table.categories == ("tench", "goldfish", "shark")
    assert labels(pictures) == ["tench", "goldfish"]


def test_tars_without_names_and_compressed_ones_are_refused(tmp_path):
    tar(tmp_path / "a" / "0.tar", {"a.jpg": jpeg("red"), "a.cls": b"1"})
    with pytest.raises(UsageError, match=r"classnames\.txt"):
        TarPictures(tmp_path / "a")
    tar(tmp_path / "b" / "0.tar", {"a.jpg": jpeg("red"), "a.cls": b"1"}, mode="w:gz")
    with pytest.raises(CorruptDatasetError, match="plain"):
        TarPictures(tmp_path / "b")


def test_layouts_are_told_apart(tmp_path, small_dataset):
    fill(tmp_path / "folder", "chair/a.jpg")
    tar(tmp_path / "tars" / "0.tar", {"a.jpg": jpeg("red"), "a.cls": b"chair"})
    kinds = [
        type(open_pictures(folder, keep=everything)).__name__
        for folder in (small_dataset, tmp_path / "folder", tmp_path / "tars")
    ]
    assert kinds == ["DatasetPictures", "FolderPictures", "TarPictures"]
    with pytest.raises(UsageError, match="no folder"):
        open_pictures(tmp_path / "nothing", keep=everything)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyInputError, match="0 pictures"):
        open_pictures(tmp_path / "empty", keep=everything)
