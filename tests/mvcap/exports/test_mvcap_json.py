"""The published layout of MVCap, as its own loader reads it, and the refusal of what does not fit in it."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image, ImageOps

from mvcap import files
from mvcap.errors import ConfigError, CorruptDatasetError, OutputError, UnknownNameError, UsageError
from mvcap.exports import mvcap_json
from mvcap.exports._chosen import Choice
from pipelines.build_all import build
from pipelines.exporting import export_dataset
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e")


def make(config, out: Path, **request) -> Path:
    build(config, Request(out, **request), LocalRunner(), lambda _: None)
    return out


def rows(dataset: Path) -> list[dict]:
    return [row for path in sorted((dataset / "data").glob("*")) for row in pq.read_table(path).to_pylist()]


def metadata(out: Path) -> list[dict]:
    return json.loads((out / "metadata.json").read_text("utf-8"))


@pytest.fixture
def dataset(models, fake_config, tmp_path) -> Path:
    config = fake_config(models(*NAMES), render__options__fail="{chairs/b: crash}")
    return make(config, tmp_path / "dataset")


def test_metadata_and_pictures_are_those_of_the_rows(dataset, tmp_path):
    out = tmp_path / "out"
    assert export_dataset(dataset, "mvcap-json", out) == 12
    entries = metadata(out)
    assert [set(entry) for entry in entries] == [{"path", "caption", "obj_id", "img_id"}] * 12
    assert sorted({entry["obj_id"] for entry in entries}) == [0, 1, 2, 3], "the failed object has no number"
    by_path = {f"./views/{row['uid']}/{row['view_index']:03d}.png": row for row in rows(dataset)}
    assert [entry["path"] for entry in entries] == list(by_path)
    for entry in entries:
        row = by_path[entry["path"]]
        assert entry["caption"] == row["caption"]
        assert entry["img_id"] == entry["obj_id"] * 100 + row["view_index"]
        with Image.open(out / entry["path"]) as picture:
            assert picture.format == "PNG"
            stored = Image.open(io.BytesIO(row["image"]["bytes"]))
            assert np.array_equal(np.asarray(picture), np.asarray(stored))


def test_a_stored_png_is_passed_on_byte_for_byte(models, fake_config, tmp_path):
    config = fake_config(models("chairs/a"), render__image="{format: png, keep_alpha: true}")
    dataset = make(config, tmp_path / "dataset")
    export_dataset(dataset, "mvcap-json", tmp_path / "out")
    stored = {row["image"]["bytes"] for row in rows(dataset)}
    assert {path.read_bytes() for path in (tmp_path / "out/views").rglob("*.png")} == stored


def test_one_split_can_be_exported_alone(models, fake_config, tmp_path):
    names = [f"chairs/{index}" for index in range(8)]
    config = fake_config(models(*names), plan__splits="{train: 0.5, test: 0.5}")
    dataset = make(config, tmp_path / "dataset")
    split_of = {f"./views/{row['uid']}/{row['view_index']:03d}.png": row["split"] for row in rows(dataset)}
    assert set(split_of.values()) == {"train", "test"}
    export_dataset(dataset, "mvcap-json", tmp_path / "out", choice=Choice("test"))
    exported = [entry["path"] for entry in metadata(tmp_path / "out")]
    assert exported == [path for path, split in split_of.items() if split == "test"]
    with pytest.raises(UsageError, match=r"no views of split 'val' \(splits: test, train\)"):
        export_dataset(dataset, "mvcap-json", tmp_path / "none", choice=Choice("val"))


@pytest.mark.parametrize("views", [100, 101])
def test_a_hundred_views_of_an_object_fit_and_one_more_is_refused(models, fake_config, tmp_path, views: int):
    config = fake_config(
        models("chairs/a", "cups/c"), render__views=views, render__resolution=16, render__max_bad_views=1.0
    )
    dataset, out = make(config, tmp_path / "dataset"), tmp_path / "out"
    if views > 100:
        with pytest.raises(UsageError, match="has a view 100: mvcap-json numbers up to 100 views"):
            export_dataset(dataset, "mvcap-json", out)
        assert not out.exists()
    else:
        export_dataset(dataset, "mvcap-json", out)
        ids = [entry["img_id"] for entry in metadata(out)]
        assert ids == list(range(200))


def test_views_without_captions_are_refused(models, fake_config, tmp_path):
    dataset = make(fake_config(models(*NAMES)), tmp_path / "dataset", caption=False)
    with pytest.raises(UsageError, match="15 of 15 views have no captions yet"):
        export_dataset(dataset, "mvcap-json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unfinished_dataset_is_refused(dataset, tmp_path):
    next((dataset / "_mvcap/commits/caption").glob("*.json")).unlink()
    with pytest.raises(UsageError, match="not finished"):
        export_dataset(dataset, "mvcap-json", tmp_path / "out")


def test_an_empty_folder_may_stand_there_already_by_a_link_too(dataset, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert export_dataset(dataset, "mvcap-json", tmp_path / "link") == 12
    assert len(metadata(tmp_path / "elsewhere")) == 12
    assert (tmp_path / "link").is_symlink()


def test_a_folder_that_a_new_one_cannot_replace_is_refused_before_anything_is_written(
    dataset, tmp_path, monkeypatch
):
    """Somebody in the folder would go on to see nothing in it, and a mounted one stays what it is."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OutputError, match=r"^\. cannot be replaced .* a new one in it with --out"):
        export_dataset(dataset, "mvcap-json", Path())
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: path == tmp_path / "mounted")
    with pytest.raises(OutputError, match="mounted cannot be replaced"):
        export_dataset(dataset, "mvcap-json", tmp_path / "mounted")
    assert list(tmp_path.glob(".attempt-*")) == []


def test_a_folder_in_use_is_not_written_into(dataset, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("keep me")
    with pytest.raises(OutputError, match="exists already"):
        export_dataset(dataset, "mvcap-json", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_failed_export_leaves_nothing_behind(dataset, tmp_path):
    victim = sorted((dataset / "data").glob("*.parquet"))[-1]
    damaged = bytearray(victim.read_bytes())
    damaged[damaged.index(b"\xff\xd8\xff") + 20] ^= 1  # inside the first picture, a JPEG
    victim.write_bytes(damaged)
    with pytest.raises(CorruptDatasetError, match="run `mvcap verify`"):
        export_dataset(dataset, "mvcap-json", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(f"{files.TEMPORARY}*"))


def test_unknown_formats_and_options_are_refused_with_the_valid_ones(dataset, tmp_path):
    with pytest.raises(UnknownNameError, match=r"did you mean 'mvcap-json'.*valid: "):
        export_dataset(dataset, "mvcap_json", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"splt: .*\(valid: none\)"):
        export_dataset(dataset, "mvcap-json", tmp_path / "out", ["splt=train"])


def test_a_photograph_that_lies_on_its_side_is_written_upright():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (64, 32)).save(buffer := io.BytesIO(), "JPEG", exif=exif)
    with Image.open(io.BytesIO(mvcap_json._png(buffer.getvalue()))) as written:
        assert (written.size, ImageOps.exif_transpose(written).size) == ((32, 64), (32, 64))
