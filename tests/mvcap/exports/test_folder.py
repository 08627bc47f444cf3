"""Folders as `datasets`, torchvision and our own source of pictures read them."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from PIL import Image
from torchvision.datasets import ImageFolder

from mvcap.commits import CAPTION
from mvcap.exports._names import folder_name
from mvcap.storage import Store
from pipelines.build_all import build
from pipelines.exporting import export_dataset
from pipelines.rewriting import rewrite_shard
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request


@pytest.fixture
def exported(models, fake_config, tmp_path) -> tuple[list[dict], Path]:
    """The rows of a dataset with two splits, masks and a category that is no plain name; and its export."""
    names = [f"{category}/{n}" for category in ("office chair", "télé") for n in range(4)]
    config = fake_config(
        models(*names),
        plan__splits="{train: 0.5, test: 0.5}",
        render__extras="[mask]",
        render__options__fail="{}",
    )
    build(config, Request(tmp_path / "dataset"), LocalRunner(), lambda _: None)
    export_dataset(tmp_path / "dataset", "folder", tmp_path / "out")
    files = sorted((tmp_path / "dataset/data").glob("*"))
    return [row for path in files for row in pq.read_table(path).to_pylist()], tmp_path / "out"


def test_datasets_reads_pictures_and_columns_in_their_splits(exported, tmp_path):
    rows, out = exported
    loaded = load_dataset("imagefolder", data_dir=str(out), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "test"}
    by_key = {(row["uid"], row["view_index"]): row for row in rows}
    seen = {(found["uid"], found["view_index"]): found for split in loaded.values() for found in split}
    assert seen.keys() == by_key.keys()
    for key, row in by_key.items():
        found = seen[key]
        stored = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert found["image"].convert("RGB").tobytes() == stored.convert("RGB").tobytes()
        for name in ("caption", "category", "license", "split", "camera_to_world"):
            assert found[name] == row[name]


def test_datasets_reads_splits_of_which_one_has_nothing_in_a_column(exported, tmp_path):
    """As when an object looks like another, and none of the other split does."""
    store = Store(tmp_path / "dataset")
    shard = next(shard for shard in store.require_plan().shards if shard.split == "train")

    def labelled(rows: pa.Table) -> pa.Table:
        column = rows.schema.field("duplicate_of")
        place = rows.schema.get_field_index(column.name)
        return rows.set_column(place, column, pa.array(["folder-x"] * rows.num_rows, column.type))

    rewrite_shard(store, shard, store.find_commit(CAPTION, shard), labelled)
    export_dataset(store.root, "folder", tmp_path / "labelled")
    loaded = load_dataset(
        "imagefolder", data_dir=str(tmp_path / "labelled"), cache_dir=str(tmp_path / "cache")
    )
    assert "folder-x" in set(loaded["train"]["duplicate_of"])
    assert set(loaded["test"]["duplicate_of"]) == {None}


def test_torchvision_reads_the_categories_as_classes(exported):
    rows, out = exported
    for split in ("train", "test"):
        pictures = ImageFolder(out / split)
        wanted = sorted((folder_name(row["category"]), row["uid"]) for row in rows if row["split"] == split)
        found = sorted((pictures.classes[label], Path(path).stem[:-4]) for path, label in pictures.samples)
        assert found == wanted


def test_the_stored_bytes_are_passed_on(exported):
    rows, out = exported
    written = {path.stem: path.read_bytes() for path in out.rglob("*.jpg")}
    assert written == {f"{row['uid']}_{row['view_index']:03d}": row["image"]["bytes"] for row in rows}


def test_mvcap_captions_an_exported_split_again(exported, fake_config, tmp_path):
    rows, out = exported
    source = "[{source: images, options: {path: %s}}]" % (out / "test")
    build(fake_config(out, sources=source), Request(tmp_path / "again"), LocalRunner(), lambda _: None)
    again = pq.read_table(tmp_path / "again/objects.parquet").to_pylist()
    wanted = {row["uid"]: row["category"] for row in rows if row["split"] == "test"}
    assert sorted(row["category"] for row in again) == sorted(wanted.values())
    assert [row["views"] for row in again] == [3] * len(wanted)


@pytest.mark.parametrize("category", ["office chair", "t-shirt", "2cv", "a" * 64])
def test_plain_categories_name_their_folders(category):
    assert folder_name(category) == category


@pytest.mark.parametrize(
    "category", ["..", "a/b", "con", "com1", "Chair", "a" * 65, "a  b", "", "é", ".x", "x."]
)
def test_other_categories_get_safe_names_of_their_own(category):
    name = folder_name(category)
    assert name != category
    assert name.isascii()
    assert set("/\\.").isdisjoint(name)
    assert len(name) <= 49


def test_categories_that_differ_in_case_or_signs_differ_in_their_folders():
    names = [folder_name(category) for category in ("chair", "Chair", "chair!", "chair?", "CHAIR")]
    assert len({name.casefold() for name in names}) == len(names)
