"""Objaverse from a cache of the library, and from a hub that serves what the cache lacks."""

import gzip
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from mvcap.errors import AssetFolderError, DiskFullError, FetchError, HubUnreachableError
from mvcap.records import Rejected, SelectedObject
from mvcap.selected import SELECTED_SCHEMA, SelectedRow, write_selected
from mvcap.sources.objaverse import Options, list_objects, open_fetcher

CHAIR = "8476c4170df24cf5bbe6967222d1a42d"
BOW = "8ff7f1f2465347cd8b80c9b206c2781e"
ODD = "Not-Hex/../Id"
PLAIN = "c786b97d08b94d02a1fa3b87d2e86cf1"


@pytest.fixture
def things(objaverse_double: SimpleNamespace) -> list[Any]:
    thing = objaverse_double.Thing
    return [
        thing(CHAIR, "000-023", "box", "Old Chair", ("armchair",), tags=("Wood", "antique"), faces=1200),
        thing(BOW, "000-001", "ball", "Bogen", ("bow_(weapon)",), license="by-nc", animations=2),
        thing(PLAIN, "000-001", "tube", "Untold"),
    ]


@pytest.fixture
def cache(objaverse_double: SimpleNamespace, things: list[Any], tmp_path: Path) -> Path:
    """A cache of the library with everything in it."""
    root: Path = objaverse_double.write(tmp_path / "cache", things)
    return root


@pytest.fixture
def served(hub: Any, objaverse_double: SimpleNamespace, things: list[Any]) -> Path:
    root: Path = objaverse_double.write(hub.root / "datasets" / objaverse_double.DATASET, things)
    return root


def listed(path: Path, **options: Any) -> list[SelectedObject | Rejected]:
    return list(list_objects(Options(path=path, **options)))


def ids(path: Path, **options: Any) -> set[str]:
    items = listed(path, **options)
    return {item.record.source_id for item in items if isinstance(item, SelectedObject)}


def test_an_existing_cache_is_used_as_it_is(cache: Path, hub: Any):
    bow, chair = listed(cache)
    assert isinstance(chair, SelectedObject)
    assert isinstance(bow, SelectedObject)
    assert (chair.category, bow.category) == ("armchair", "bow")
    record = chair.record
    assert record.asset == str(cache / "glbs" / "000-023" / f"{CHAIR}.glb")
    assert record.asset_bytes == Path(record.asset).stat().st_size
    assert (record.name, record.license, record.creator) == ("Old Chair", "CC-BY-4.0", "Ada Lovelace")
    assert record.source_url == f"https://sketchfab.com/3d-models/{CHAIR}"
    assert hub.requests == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"licenses": ["by", "by-sa", "cc0"]}, {CHAIR}),
        ({"licenses": ["by-nc"]}, {BOW}),
        ({"min_faces": 1000}, {CHAIR}),
        ({"max_faces": 1000}, {BOW}),
        ({"max_bytes": 2000}, {CHAIR}),
        ({"animated": True}, {BOW}),
        ({"animated": False}, {CHAIR}),
        ({"tags": ["WOOD", "metal"]}, {CHAIR}),
        ({"tags": ["metal"]}, set()),
        ({"uids": [BOW]}, {BOW}),
    ],
)
def test_a_filter_keeps_what_it_asks_for(cache: Path, options: dict[str, Any], expected: set[str]):
    assert ids(cache, **options) == expected


def test_age_restricted_objects_are_taken_only_where_asked_for(
    objaverse_double: SimpleNamespace, tmp_path: Path
):
    restricted = objaverse_double.Thing("r", lvis=("knife",), age_restricted=True)
    objaverse_double.write(tmp_path, [restricted])
    assert ids(tmp_path) == set()
    assert ids(tmp_path, age_restricted=True) == {"r"}


def test_an_object_whose_licence_is_not_told_fails_a_filter_by_licence(
    objaverse_double: SimpleNamespace, tmp_path: Path
):
    untold = objaverse_double.Thing("u", lvis=("knife",), changes={"license": None, "user": None, "tags": 3})
    objaverse_double.write(tmp_path, [untold])
    assert ids(tmp_path, licenses=["by"]) == set()
    (item,) = listed(tmp_path)
    assert isinstance(item, SelectedObject)
    assert (item.record.license, item.record.creator) == (None, None)


def test_a_list_of_uids_may_have_a_byte_order_mark_crlf_and_blank_lines(cache: Path, tmp_path: Path):
    (tmp_path / "uids.txt").write_bytes(f"\ufeff{CHAIR}\r\n\r\n  {CHAIR} \r\n".encode())
    assert ids(cache, uids_file=tmp_path / "uids.txt") == {CHAIR}


def test_a_named_object_without_a_category_or_a_file_is_rejected_with_its_reason(cache: Path):
    rejected = {
        item.uid: item for item in listed(cache, uids=[PLAIN, "gone", CHAIR]) if isinstance(item, Rejected)
    }
    assert sorted(item.reason for item in rejected.values()) == ["bad_asset", "no_category"]
    assert any("not in the LVIS lists" in item.message for item in rejected.values())
    assert any("holds no object 'gone'" in item.message for item in rejected.values())


def test_an_object_of_two_lvis_categories_is_rejected_and_both_are_shown(
    objaverse_double: SimpleNamespace, tmp_path: Path
):
    objaverse_double.write(tmp_path, [objaverse_double.Thing("t", lvis=("chair", "stool"))])
    (item,) = listed(tmp_path)
    assert isinstance(item, Rejected)
    assert (item.reason, item.message) == ("no_category", "the LVIS lists name 2 categories: chair, stool")


@pytest.mark.parametrize(
    "path", ["../../evil.glb", "glbs/../evil.glb", "/etc/x.glb", "glbs/a/b/c.glb", "glbs/a/x\0.glb", 7]
)
def test_a_path_that_leads_out_of_the_cache_is_refused(cache: Path, path: object):
    (cache / "object-paths.json.gz").write_bytes(gzip.compress(json.dumps({CHAIR: path}).encode()))
    (chair,) = listed(cache, uids=[CHAIR])
    assert isinstance(chair, Rejected)
    assert chair.reason == "bad_asset"


def test_a_uid_that_is_no_hex_digits_is_never_a_path(objaverse_double: SimpleNamespace, tmp_path: Path):
    thing = objaverse_double.Thing(ODD, lvis=("chair",))
    objaverse_double.write(tmp_path, [thing], models=False)
    paths = {ODD: "glbs/000-023/odd.glb"}
    (tmp_path / "object-paths.json.gz").write_bytes(gzip.compress(json.dumps(paths).encode()))
    (item,) = listed(tmp_path)
    assert isinstance(item, SelectedObject)
    assert item.uid.startswith("objaverse-not-hex-id-")
    assert Path(item.record.asset) == tmp_path / "glbs" / "000-023" / "odd.glb"


def write_rows(path: Path, rows: list[SelectedRow]) -> None:
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SELECTED_SCHEMA)
    write_selected(path, table, about="{}")


def test_a_selection_gives_categories_and_similarities(cache: Path, tmp_path: Path):
    rows = [SelectedRow(PLAIN, "vase", 0.31, "jar", 0.04), SelectedRow("gone", "jar", 0.3, None, None)]
    write_rows(tmp_path / "chosen.parquet", rows)
    gone, vase = listed(cache, selection=tmp_path / "chosen.parquet")
    assert isinstance(gone, Rejected)
    assert isinstance(vase, SelectedObject)
    assert (vase.record.source_id, vase.category) == (PLAIN, "vase")
    assert vase.similarity == pytest.approx(0.31)
    assert ids(cache, selection=tmp_path / "chosen.parquet", lvis_only=True) == set()
    assert ids(cache, selection=tmp_path / "chosen.parquet", uids=[CHAIR]) == set()


def test_a_selection_that_names_an_object_twice_is_refused_with_both(cache: Path, tmp_path: Path):
    rows = [SelectedRow(CHAIR, "vase", 0.31, None, None), SelectedRow(CHAIR, "jar", 0.3, None, None)]
    write_rows(tmp_path / "chosen.parquet", rows)
    with pytest.raises(AssetFolderError, match=r"names an object twice: .*vase.* and .*jar"):
        listed(cache, selection=tmp_path / "chosen.parquet")


def test_a_damaged_file_of_the_cache_is_named(cache: Path):
    path = cache / "metadata" / "000-023.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(AssetFolderError, match=r"000-023\.json\.gz is damaged .* delete it"):
        listed(cache)


def test_an_unknown_licence_is_refused_with_the_valid_ones():
    with pytest.raises(ValidationError, match="unknown licence 'cc-0'; did you mean 'cc0'"):
        Options(licenses=("cc-0",))


def test_the_library_itself_reads_what_was_fetched(
    served: Path, things: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The published library, 0.1.7, finds all in our cache and downloads nothing: no network is there."""
    library = pytest.importorskip("objaverse")
    root = tmp_path / "new"
    monkeypatch.setattr(library, "_VERSIONED_PATH", str(root))
    items = [item for item in listed(root) if isinstance(item, SelectedObject)]
    for item in items:
        open_fetcher(Options(path=root)).fetch(item)
    monkeypatch.setattr(library.urllib.request, "urlretrieve", None)
    assert library.load_lvis_annotations() == {"armchair": [CHAIR], "bow_(weapon)": [BOW]}
    assert library.load_uids() == [thing.uid for thing in things]
    assert library.load_annotations([CHAIR])[CHAIR]["name"] == "Old Chair"
    found = library.load_objects([CHAIR, BOW])
    assert found == {item.record.source_id: item.record.asset for item in items}


# --- from the hub ----------------------------------------------------------------------------------


def test_listing_fetches_only_the_annotations_that_are_needed(hub: Any, served: Path, tmp_path: Path):
    assert ids(tmp_path / "new", uids=[CHAIR]) == {CHAIR}
    fetched = sorted(p.relative_to(tmp_path / "new").as_posix() for p in (tmp_path / "new").rglob("*.gz"))
    assert fetched == ["lvis-annotations.json.gz", "metadata/000-023.json.gz", "object-paths.json.gz"]
    assert hub.seen("GET", ".glb") == []


def missing_chair(root: Path) -> SelectedObject:
    (item,) = listed(root, uids=[CHAIR])
    assert isinstance(item, SelectedObject)
    return item


def test_a_model_is_fetched_to_where_the_library_would_put_it(served: Path, tmp_path: Path):
    item = missing_chair(tmp_path / "new")
    open_fetcher(Options(path=tmp_path / "new")).fetch(item)
    expected = served / "glbs" / "000-023" / f"{CHAIR}.glb"
    assert Path(item.record.asset).read_bytes() == expected.read_bytes()
    assert Path(item.record.asset) == tmp_path / "new" / "glbs" / "000-023" / f"{CHAIR}.glb"


def test_a_model_that_the_hub_refuses_blames_itself_alone(
    hub: Any, hub_double: SimpleNamespace, served: Path, tmp_path: Path
):
    item = missing_chair(tmp_path / "new")
    hub.fail("HEAD", f"{CHAIR}.glb", *[hub_double.refusing(503)] * 3)
    with pytest.raises(FetchError, match="answered HTTP 503"):
        open_fetcher(Options(path=tmp_path / "new")).fetch(item)


def test_a_hub_that_is_gone_blames_no_model(
    hub: Any, hub_double: SimpleNamespace, served: Path, tmp_path: Path
):
    item = missing_chair(tmp_path / "new")
    hub.fail("HEAD", f"{CHAIR}.glb", *[hub_double.refusing(503)] * 3)
    hub.fail("HEAD", "object-paths.json.gz", *[hub_double.refusing(503)] * 3)
    with pytest.raises(HubUnreachableError, match="answered HTTP 503"):
        open_fetcher(Options(path=tmp_path / "new")).fetch(item)


def test_a_gated_dataset_is_found_out_before_anything_is_fetched(
    hub: Any, hub_double: SimpleNamespace, served: Path, tmp_path: Path
):
    item = missing_chair(tmp_path / "new")
    hub.fail("HEAD", "object-paths.json.gz", hub_double.gated())
    with pytest.raises(FetchError, match="hf auth login"):
        open_fetcher(Options(path=tmp_path / "new")).check([item])


def test_models_that_do_not_fit_on_the_disk_are_found_out_before_anything_is_fetched(
    hub: Any, hub_double: SimpleNamespace, objaverse_double: SimpleNamespace, tmp_path: Path
):
    huge = {"archives": {"glb": {"size": 10**18}}}
    root = hub.root / "datasets" / objaverse_double.DATASET
    objaverse_double.write(root, [objaverse_double.Thing("h", lvis=("chair",), changes=huge)])
    (item,) = listed(tmp_path / "new")
    assert isinstance(item, SelectedObject)
    with pytest.raises(DiskFullError, match=r"fetching 1 objects of Objaverse needs 1000000000\.0 GB"):
        open_fetcher(Options(path=tmp_path / "new")).check([item])


def test_without_download_a_missing_model_is_an_error_of_its_own(cache: Path):
    (item,) = listed(cache, uids=[CHAIR])
    assert isinstance(item, SelectedObject)
    Path(item.record.asset).unlink()
    fetcher = open_fetcher(Options(path=cache, download=False))
    fetcher.check([item])
    with pytest.raises(FetchError, match="does not exist, and download is false"):
        fetcher.fetch(item)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once; `tests/mvcap/test_downloads.py` waits for real."""
    sleep: Callable[[float], None] = lambda _: None  # noqa: E731
    monkeypatch.setattr("mvcap.hub.time", SimpleNamespace(sleep=sleep))
