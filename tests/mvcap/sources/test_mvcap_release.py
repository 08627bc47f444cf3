"""The published layout of MVCap, in folders and in zips; most of its objects are missing."""

import json
import zipfile
from pathlib import Path

import pytest

from mvcap.errors import AssetFolderError
from mvcap.pictures import UnusableInputError
from mvcap.plan import make_uid
from mvcap.records import Rejected, SelectedObject
from mvcap.sources.mvcap_release import Options, expected_views, list_objects, open_pictures, read_captions


def entry(uid: str, number: int, view: int, **changes: object) -> dict:
    path = f"./views/{uid}/{view:03d}.png"
    return {
        "path": path,
        "caption": f"{uid} {view}",
        "obj_id": number,
        "img_id": number * 100 + view,
    } | changes


@pytest.fixture
def write(tmp_path: Path):
    """Write a release of these entries, and a table of two categories; return its options."""

    def make(entries: list[dict], **options: object) -> Options:
        root = tmp_path / "release"
        root.mkdir(exist_ok=True)
        (root / "metadata.json").write_text(json.dumps(entries))
        (tmp_path / "table.csv").write_text("uid,category\na,chair\nb,cup\n")
        return Options.model_validate({"path": root, "categories": tmp_path / "table.csv", **options})

    return make


def place(options: Options, *names: str) -> None:
    for name in names:
        (options.path / name).parent.mkdir(parents=True, exist_ok=True)
        (options.path / name).write_bytes(name.encode())


def listed(options: Options) -> tuple[dict[str, SelectedObject], list[str]]:
    items = list(list_objects(options))
    objects = {item.record.source_id: item for item in items if isinstance(item, SelectedObject)}
    return objects, [item.message for item in items if isinstance(item, Rejected)]


def test_pictures_are_found_in_folders_with_the_views_that_the_file_gives_them(write):
    options = write([entry("a", 7, 26), entry("a", 7, 3), entry("a", 7, 3)])
    place(options, "views/a/026.png", "views/a/099.png")
    objects, rejected = listed(options)
    assert ({name: item.category for name, item in objects.items()}, rejected) == ({"views/a": "chair"}, [])
    pictures = open_pictures(options)(objects["views/a"])
    assert [(picture.view_index, picture.content is None) for picture in pictures] == [(3, True), (26, False)]
    assert pictures[1].content.read() == b"views/a/026.png"
    assert expected_views(options)(objects["views/a"]) == 2


@pytest.mark.parametrize("prefix", ["", "views/", "MVCap/views/", "/"])
def test_pictures_are_found_in_zips_beside_the_file(write, prefix):
    options = write([entry("a", 0, 0), entry("b", 1, 5), entry("b", 1, 6)])
    for uid, views in (("a", [0]), ("b", [5])):
        with zipfile.ZipFile(options.path / f"{uid}.zip", "w") as archive:
            for view in views:
                archive.writestr(f"{prefix}{uid}/{view:03d}.png", f"{uid}{view}")
    objects, rejected = listed(options)
    assert (sorted(objects), rejected) == (["views/a", "views/b"], [])
    find = open_pictures(options)
    assert [picture.content.read() for picture in find(objects["views/a"])] == [b"a0"]
    first, second = find(objects["views/b"])
    assert (first.content.read(), second.content) == (b"b5", None)


def test_what_is_missing_unnamed_or_leads_out_is_rejected_by_its_reason(write):
    options = write(
        [
            *(entry("a", 0, 0), entry("b", 1, 0), entry("nameless", 2, 0)),
            entry("x", 3, 0, path="../../secret/000.png"),
            entry("y", 4, 0, path="/etc/passwd"),
        ]
    )
    place(options, "views/a/000.png", "views/nameless/000.png")
    objects, rejected = listed(options)
    assert list(objects) == ["views/a"]
    assert sorted(rejected) == [
        "'../../secret/000.png' is no path of a picture below the folder",
        "'/etc/passwd' is no path of a picture below the folder",
        "no table gives 'nameless' a category",
        "there is no folder 'views/b', and no zip to hold it",
    ]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("a", 0, 0), entry("a", 0, 0, path="./views/a/other.png")], "two pictures for view 0"),
        ([entry("a", 1, 0, img_id=5)], "img_id=5 is no view of obj_id=1"),
        ([{"path": "a/b.png"}], "img_id"),
        ({"path": "a/b.png"}, "not a JSON list"),
        ([7], "cannot read"),
    ],
)
def test_a_file_that_contradicts_itself_is_an_error_that_names_it(write, entries, said):
    with pytest.raises(AssetFolderError, match=said) as refused:
        listed(write(entries))
    assert "metadata.json" in str(refused.value)


def test_published_captions_can_be_compared_with_ours(write):
    options = write([entry("a", 0, 1), entry("b", 1, 0)])
    assert list(read_captions(options)) == [
        (make_uid("mvcap_release", "views/a"), 1, "a 1"),
        (make_uid("mvcap_release", "views/b"), 0, "b 0"),
    ]


def test_a_damaged_zip_costs_no_picture_of_the_others_and_is_named_for_what_is_nowhere(write):
    options = write([entry("a", 0, 0), entry("b", 1, 0)])
    with zipfile.ZipFile(options.path / "z.zip", "w") as archive:
        archive.writestr("a/000.png", "a0")
    (options.path / "damaged.zip").write_bytes(b"PK no more")
    objects, _ = listed(options)
    find = open_pictures(options)
    for _ in range(2):  # whichever object is asked for first
        [missing], [present] = find(objects["views/b"]), find(objects["views/a"])
        assert present.content.read() == b"a0"
        with pytest.raises(UnusableInputError, match=r"no readable zip; .*damaged\.zip"):
            missing.content.read()
