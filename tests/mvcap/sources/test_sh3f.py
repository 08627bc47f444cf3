"""Furniture libraries: a small one made here, and the reviewed table against the real ones."""

import csv
import zipfile
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from mvcap.errors import BAD_ASSET, AssetFolderError
from mvcap.records import Rejected, SelectedObject
from mvcap.sources import sh3f
from mvcap.sources.sh3f import Options, default_library, list_objects, read_labels
from mvcap.sources.sh3f.catalog import CATALOG, parse_properties, read_catalog
from mvcap.sources.sh3f.unpack import unpack_library

PROPERTIES = """\
# A library in the manner of www.sweethome3d.com
id=Test
license=Creative Commons Attribution 3.0
provider=www.example.org
id#1=Blend Swap CC-0#bench
name#1=Banc d'\\u00e9t\xe9 \\ud83e\\ude91
model#1=/bench/bench.obj
creator#1=Ad\xe0
modelRotation#1=1 0 0 0 0 -1 0 1 0
id#2=Test#unlabelled
name#2=Two \\
    lines
model#2=/two.obj
"""
Library = Callable[..., Path]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Write a `.sh3f` file with the given catalogue and further entries."""

    def write(properties: str = PROPERTIES, name: str = "Test", **entries: bytes) -> Path:
        folder = tmp_path / "libraries"
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / f"{name}.sh3f", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(CATALOG, properties.encode("latin-1"))
            for entry, content in {"bench/bench.obj": b"v 0 0 0", "two.obj": b"v 1 1 1", **entries}.items():
                archive.writestr(entry, content)
        return folder / f"{name}.sh3f"

    return write


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "cache"))


# the catalogue


def test_a_labelled_model_becomes_an_object_with_licence_creator_and_front(library: Library):
    items = list(list_objects(Options(path=library().parent)))
    (bench,) = [item for item in items if isinstance(item, SelectedObject)]
    record = bench.record
    assert (bench.category, record.source_id) == ("bench", "Blend Swap CC-0#bench")
    assert (record.name, record.creator) == ("Banc d'été 🪑", "Adà")
    assert (record.license, record.source_url) == ("CC-BY-3.0", "https://www.example.org")
    assert Path(record.asset).read_bytes() == b"v 0 0 0"
    assert record.front_azimuth_deg == 270
    record.name.encode()


def test_labelled_models_that_no_library_holds_are_rejected_one_by_one(library: Library):
    items = list(list_objects(Options(path=library(), selection="demo")))
    rejected = [item for item in items if isinstance(item, Rejected)]
    assert {item.reason for item in rejected} == {BAD_ASSET}
    assert len(items) == len(read_labels(demo_only=True))
    assert len({item.uid for item in items}) == len(items)


def test_models_without_a_label_are_listed_where_all_are_wanted(library: Library):
    labelled, unlabelled = (
        [
            item
            for item in list_objects(Options(path=library(), selection=kind))
            if isinstance(item, SelectedObject)
        ]
        for kind in ("labelled", "all")
    )
    assert [item.category for item in labelled] == ["bench"]
    assert [item.category for item in unlabelled] == ["bench", "two lines"]


def test_the_same_model_in_two_libraries_is_listed_once(library: Library):
    library(name="First")
    folder = library(name="Second", extra=b"x").parent
    items = [item for item in list_objects(Options(path=folder)) if isinstance(item, SelectedObject)]
    assert [item.record.source_id for item in items] == ["Blend Swap CC-0#bench"]


def test_a_rotation_is_carried_from_the_models_axes_to_the_worlds(library: Library):
    (bench, two) = read_catalog(unpack_library(library(), library().parent / "unpacked"))
    # [1 0 0, 0 0 -1, 0 1 0] turns by +90 degrees about the model's x axis: y (up) goes to z (the viewer).
    # In the world up is +Z and the viewer stands at -Y, so it must take +Z to -Y.
    assert bench.rotation is not None
    np.testing.assert_array_equal(np.reshape(bench.rotation, (3, 3)) @ [0, 0, 1], [0, -1, 0])
    np.testing.assert_array_equal(np.reshape(bench.rotation, (3, 3)) @ [1, 0, 0], [1, 0, 0])
    assert two.rotation is None


def test_any_rotation_is_the_same_turn_seen_in_world_axes(library: Library):
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    text = " ".join(map(str, turn.ravel()))
    path = library(PROPERTIES.replace("1 0 0 0 0 -1 0 1 0", text))
    bench = next(read_catalog(unpack_library(path, path.parent / "unpacked")))
    to_world = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # (x, y, z) -> (x, -z, y)
    point = rng.normal(size=3)
    np.testing.assert_allclose(
        np.reshape(bench.rotation, (3, 3)) @ (to_world @ point), to_world @ (turn @ point)
    )


@pytest.mark.parametrize("rotation", ["1 0 0", "a b c d e f g h i", "", "1 0 0 0 1 0 0 0 1 0"])
def test_a_rotation_that_is_no_matrix_is_an_error(library: Library, rotation: str):
    path = library(PROPERTIES.replace("1 0 0 0 0 -1 0 1 0", rotation))
    with pytest.raises(AssetFolderError, match="modelRotation"):
        list(list_objects(Options(path=path)))


@pytest.mark.parametrize("model", ["../../etc/passwd", "/../x.obj", "bench/../../x.obj", ""])
def test_a_model_outside_its_library_is_refused(library: Library, model: str):
    path = library(PROPERTIES.replace("/bench/bench.obj", model))
    with pytest.raises(AssetFolderError, match="outside its folder"):
        list(list_objects(Options(path=path)))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (r"a=\u00e9", "é"),
        (r"a=\\u00e9", r"\u00e9"),
        (r"a=C\:\\x", r"C:\x"),
        (r"a=\ud83e\ude91", "🪑"),
        (r"a=\ud83e", "\ufffd"),
        ("a = b = c ", "b = c"),
        ("a=x\x85y", "x\x85y"),
        ("a=1\r\nb=2\r\n", "1"),
        ("a=long \\\r\n   line", "long line"),
        ("#a=no\n!a=no\na=yes", "yes"),
        ("a=", ""),
    ],
)
def test_properties_follow_javas_rules(line: str, value: str):
    assert parse_properties(line)["a"] == value


@pytest.mark.parametrize(
    ("line", "license_name"),
    [
        ("Public Domain / CC-0 ", "CC0-1.0"),
        ("Creative Commons Attribution 3.0 United States", "CC-BY-3.0-US"),
        ("Creative Commons  Attribution 3.0", "CC-BY-3.0"),
        ("Free Art License 1.3", "Free Art License 1.3"),
        ("", "unknown"),
    ],
)
def test_licences_are_named_as_spdx_does(library: Library, line: str, license_name: str):
    path = library(PROPERTIES.replace("Creative Commons Attribution 3.0", line))
    assert next(read_catalog(unpack_library(path, path.parent / "unpacked"))).license == license_name


# archives


def test_a_library_is_unpacked_once(library: Library, tmp_path: Path):
    path = library()
    first = unpack_library(path, tmp_path / "unpacked")
    written = (first / CATALOG).stat()
    assert unpack_library(path, tmp_path / "unpacked") == first
    assert (first / CATALOG).stat() == written
    assert [entry.name for entry in (tmp_path / "unpacked").iterdir()] == [first.name]


def test_another_library_of_the_same_name_gets_a_folder_of_its_own(library: Library, tmp_path: Path):
    first = unpack_library(library(), tmp_path / "unpacked")
    second = unpack_library(library(extra=b"x"), tmp_path / "unpacked")
    assert first != second


@pytest.mark.parametrize("name", ["../evil", "/abs/evil", "a/../../evil", "..\\evil", "a/.."])
def test_an_entry_outside_the_archives_folder_is_refused(library: Library, tmp_path: Path, name: str):
    with pytest.raises(AssetFolderError, match="outside its own folder"):
        unpack_library(library(**{name: b"x"}), tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").iterdir()) == []
    assert not list(tmp_path.rglob("*evil*"))


def test_an_archive_that_claims_more_than_the_cap_is_refused_unread(tmp_path: Path):
    bomb = tmp_path / "bomb.sh3f"
    with zipfile.ZipFile(bomb, "w") as archive:
        for index in range(3):
            archive.writestr(str(index), b"")
        for entry in archive.infolist():  # the central directory is written on closing
            entry.file_size = 3 * 2**30
    with pytest.raises(AssetFolderError, match=r"would unpack to 3 files and 9\.0 GB; the limits are"):
        unpack_library(bomb, tmp_path / "unpacked")


def test_an_archive_of_too_many_entries_is_refused(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mvcap.sources.sh3f.unpack.MAX_ENTRIES", 2)
    with pytest.raises(AssetFolderError, match="3 files"):
        unpack_library(library(), tmp_path / "unpacked")


def corrupt(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    local = content.index(b"bench/bench.obj")
    central = content.rindex(b"bench/bench.obj") - 46
    if kind == "truncated":
        del content[len(content) // 2 :]
    elif kind == "no zip":
        content[:] = b"PK but nothing more"
    elif kind == "empty":
        content.clear()
    elif kind == "bad data":
        content[local + 15] ^= 0x06  # the block type of the deflate stream
    elif kind == "encrypted":
        content[central + 8] |= 1
        content[local - 30 + 6] |= 1
    elif kind == "unknown compression":
        content[central + 10] = content[local - 30 + 8] = 97
    path.write_bytes(content)


@pytest.mark.parametrize(
    "kind", ["truncated", "no zip", "empty", "bad data", "encrypted", "unknown compression"]
)
def test_a_damaged_archive_is_an_error_that_names_it_and_leaves_nothing(
    library: Library, tmp_path: Path, kind: str
):
    path = library()
    corrupt(path, kind)
    with pytest.raises(AssetFolderError, match=r"cannot unpack the furniture library .*Test\.sh3f"):
        unpack_library(path, tmp_path / "unpacked")
    assert list((tmp_path / "unpacked").glob("*")) == []


def test_an_archive_without_a_catalogue_is_no_library(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.sh3f", "w") as archive:
        archive.writestr("readme", b"")
    with pytest.raises(AssetFolderError, match=rf"{CATALOG} is missing"):
        list(list_objects(Options(path=tmp_path / "x.sh3f")))


def test_without_a_library_the_error_says_how_to_fetch_one(tmp_path: Path):
    with pytest.raises(
        AssetFolderError, match=r"python -m mvcap\.sources\.sh3f\.fetch[\s\S]*--models FOLDER"
    ):
        list(list_objects(Options(path=tmp_path)))


# the reviewed table


def label_rows() -> list[dict[str, str]]:
    text = (files(sh3f) / "labels.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines(), strict=True))


def test_the_table_names_every_model_once_with_a_clean_category():
    rows = label_rows()
    assert max(Counter(row["id"] for row in rows).values()) == 1
    for row in rows:
        assert row.keys() == {"id", "category", "demo"}
        assert row["demo"] in ("0", "1")
        assert row["category"] == " ".join(row["category"].lower().split())
        assert row["category"].replace(" ", "").replace("-", "").isalpha(), row


def test_the_demo_has_enough_objects_and_categories():
    demo = read_labels(demo_only=True)
    assert len(demo) >= 60
    assert len(set(demo.values())) >= 20
    assert min(Counter(demo.values()).values()) >= 2
    assert demo.items() <= read_labels().items()


def test_there_are_at_most_sixty_categories():
    assert len(set(read_labels().values())) <= 60


def test_every_labelled_model_exists_in_the_real_libraries(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MVCAP_CACHE")
    libraries = sorted(default_library().glob("*.sh3f"))
    if not libraries:
        pytest.skip("the furniture libraries are not on this machine; `make objects` fetches them")
    known: dict[str, tuple[Path, set[str]]] = {}
    for library in libraries:
        with zipfile.ZipFile(library) as archive:
            properties = parse_properties(archive.read(CATALOG).decode("latin-1"))
            entries = set(archive.namelist())
        for key, source_id in properties.items():
            if key.startswith("id#"):
                model = properties["model#" + key.removeprefix("id#")].lstrip("/")
                known[source_id] = (library, {model} - entries)
    assert set(read_labels()) - set(known) == set()
    assert {source_id for source_id in read_labels() if known[source_id][1]} == set()
