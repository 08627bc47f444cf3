"""A dataset opened from Python: every committed view once, by object, filtered, for pandas and for torch."""

import doctest
import io
import math
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

import mvcap
from mvcap import schema
from mvcap.commits import CAPTION
from mvcap.errors import CorruptDatasetError, OutputError, UsageError
from mvcap.tables import TableWriter

NAMES = ("chair-a", "chair-b", "cup-a", "cup-b")
SPLITS = {"train": 0.5, "test": 0.5}


def category_of(name: str) -> str:
    return name.split("-")[0]


@pytest.fixture
def dataset(make_dataset):
    """Two chairs and two cups, three views each, in both splits."""
    made = make_dataset(NAMES, per_shard=1, splits=SPLITS, folder="my_dataset", category_of=category_of)
    return made.finish()


def test_the_examples_of_the_docstrings_are_true(dataset, monkeypatch):
    monkeypatch.chdir(dataset.store.root.parent)
    import mvcap.dataset

    results = doctest.testmod(mvcap.dataset, extraglobs={"mvcap": mvcap})
    assert results.failed == 0
    assert results.attempted >= 12


def test_every_view_comes_once_in_the_order_of_the_plan(dataset):
    views = mvcap.open(dataset.store.root)
    keys = [(view["uid"], view["view_index"]) for view in views]
    uids = [uid for shard in dataset.plan.shards for uid in shard.uids]
    assert keys == [(uid, index) for uid in uids for index in range(3)]
    assert [views[place]["uid"] for place in (0, 5, -1)] == [keys[0][0], keys[5][0], keys[-1][0]]
    with pytest.raises(IndexError):
        views[12]


def test_pictures_are_the_stored_ones(dataset, make_picture):
    view = mvcap.open(dataset.store.root)[1]
    assert np.array_equal(np.array(view["image"]), np.array(make_picture(1)))
    assert view["mask"] is None


def test_filters_combine_and_refuse_names_that_are_not_there(dataset):
    views = mvcap.open(dataset.store.root)
    kept = views.filter(category="cup", split=views.splits)
    assert {item.category for item in kept.objects} == {"cup"}
    assert sum(len(views.filter(split=split)) for split in views.splits) == len(views)
    with pytest.raises(UsageError, match=r"no category 'cups'.*did you mean 'cup'"):
        views.filter(category="cups")
    with pytest.raises(UsageError, match="no object"):
        kept.views(views.filter(category="chair").objects[0].uid)


def test_only_what_is_committed_is_there_and_the_last_generation_counts(dataset, make_dataset):
    unfinished = make_dataset(NAMES, per_shard=1, splits=SPLITS)
    assert len(mvcap.open(unfinished.store.root)) == 0
    assert mvcap.open(unfinished.store.root).to_pandas().empty
    shard = unfinished.plan.shards[2]
    unfinished.commit(CAPTION, shard, caption="first")
    unfinished.commit(CAPTION, shard, caption="second")
    views = mvcap.open(unfinished.store.root)
    assert [(item.uid, item.shard) for item in views.objects] == [(shard.uids[0], 2)]
    assert [view["caption"] for view in views] == ["second"] * 3


def test_a_folder_without_a_dataset_is_refused(tmp_path):
    with pytest.raises(OutputError, match="is not a dataset of mvcap"):
        mvcap.open(str(tmp_path))


def test_a_shard_that_vanished_is_told(dataset):
    views = mvcap.open(dataset.store.root)
    dataset.store.target(CAPTION, dataset.plan.shards[0]).unlink()
    with pytest.raises(CorruptDatasetError, match="mvcap verify"):
        views[0]


def test_an_object_that_was_taken_out_meanwhile_is_told(make_dataset):
    made = make_dataset("ab").finish()
    views = mvcap.open(made.store.root)
    (shard,) = made.plan.shards
    gone, kept = shard.uids
    table = pq.read_table(made.store.target(CAPTION, shard), filters=[("uid", "=", kept)])
    with made.store.stage_file(CAPTION, shard) as path:
        with TableWriter(path, schema.VIEW_SCHEMA) as writer:
            writer.write_table(table)
        made.store.commit(CAPTION, shard, path, settings="s", rows=3, views={kept: 3})
    assert len(views.views(kept)) == 3
    for read in (lambda: views.views(gone), lambda: views[1], lambda: views.to_torch()[1], lambda: [*views]):
        with pytest.raises(CorruptDatasetError, match=f"{gone} had 3 views .* has 0 now.* open it anew"):
            read()


def test_pandas_has_all_rows_of_the_chosen_objects_and_pictures_on_request(dataset):
    views = mvcap.open(dataset.store.root).filter(category="cup")
    frame = views.to_pandas()
    assert len(frame) == 6
    assert "image" not in frame
    assert set(frame["category"]) == {"cup"}
    assert frame["camera_to_world"][0].shape == (16,)
    pictures = views.to_pandas(pictures=True)["image"]
    assert pictures[0]["bytes"].startswith(b"\x89PNG")


def test_a_column_that_an_older_version_did_not_write_is_null(dataset):
    path = dataset.store.target(CAPTION, dataset.plan.shards[0])
    table = pq.read_table(path).drop_columns(["duplicate_of"])
    with dataset.store.stage_file(CAPTION, dataset.plan.shards[0]) as staged:
        with TableWriter(staged, table.schema) as writer:
            writer.write_table(table)
        dataset.store.commit(
            CAPTION, dataset.plan.shards[0], staged, settings="s", rows=3, views={table["uid"][0].as_py(): 3}
        )
    views = mvcap.open(dataset.store.root)
    assert views[0]["duplicate_of"] is None
    assert views.to_pandas()["duplicate_of"].isna().all()


def test_torch_gets_what_the_files_hold_in_any_order(dataset):
    import torch

    views = mvcap.open(dataset.store.root)
    items = views.to_torch(columns=["uid", "view_index", "clip_score", "source_url", "caption_retried"])
    order = [7, 0, 8, 1]
    batch = items.__getitems__(order)
    assert [(item["uid"], item["view_index"]) for item in batch] == [views.locate(place) for place in order]
    pixels = np.array(views[7]["image"]).transpose(2, 0, 1)  # (3, H, W)
    assert torch.equal((batch[0]["image"] * 255).round().byte(), torch.from_numpy(pixels))
    assert math.isnan(batch[0]["clip_score"])
    assert (batch[0]["source_url"], batch[0]["caption_retried"]) == ("", False)
    assert views.to_torch(lambda picture: picture.size)[3]["image"] == (24, 24)
    with pytest.raises(UsageError, match=r"no column 'captions'.*did you mean 'caption'"):
        views.to_torch(columns=["captions"])


def store_picture(dataset, picture: Image.Image, kind: str, background: str, **options) -> None:
    """Make a picture the first one of the dataset."""
    picture.save(buffer := io.BytesIO(), kind, **options)
    shard = dataset.plan.shards[0]
    rows = pq.read_table(dataset.store.target(CAPTION, shard)).to_pylist()
    rows[0] |= {"image": {"bytes": buffer.getvalue(), "path": None}, "background": background}
    with dataset.store.stage_file(CAPTION, shard) as path:
        with TableWriter(path, schema.VIEW_SCHEMA) as writer:
            writer.write(rows)
        dataset.store.commit(CAPTION, shard, path, settings="s", rows=3, views={rows[0]["uid"]: 3})


def test_a_photograph_that_lies_on_its_side_is_upright(dataset):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # the row at the right is the top one
    photo = Image.new("RGB", (32, 16), "white")
    photo.paste("black", (0, 0, 16, 16))
    store_picture(dataset, photo, "JPEG", "#ffffff", exif=exif)
    views = mvcap.open(dataset.store.root)
    assert views[0]["image"].size == (16, 32)
    assert views[0]["image"].getpixel((8, 4)) == pytest.approx((0, 0, 0), abs=9)
    image = views.to_torch()[0]["image"]  # (3, H, W)
    assert image.shape == (3, 32, 16)
    assert (image[0, 4, 8] < 0.1, image[0, 28, 8] > 0.9) == (True, True)


@pytest.mark.parametrize(("background", "seen"), [("#ff8000", [255, 128, 0]), ("sky.jpg", [0, 0, 0])])
def test_torch_gets_kept_alpha_on_the_background_that_the_captioner_saw(dataset, background, seen):
    store_picture(dataset, Image.new("RGBA", (24, 24), (9, 200, 9, 0)), "PNG", background)
    image = mvcap.open(dataset.store.root).to_torch()[0]["image"]
    assert (image[:, 3, 3] * 255).round().int().tolist() == seen


def test_workers_of_a_loader_are_processes(dataset):
    from torch.utils.data import DataLoader

    items = mvcap.open(dataset.store.root).to_torch()
    batches = list(DataLoader(items, batch_size=5, num_workers=1))
    assert [len(batch["caption"]) for batch in batches] == [5, 5, 2]


def test_opening_reads_without_torch(dataset):
    code = (
        f"import mvcap, sys; print(len(mvcap.open({str(dataset.store.root)!r}))); "
        "print(*({'torch', 'ray', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.split("\n"), done.stderr) == (["12", "", ""], "")
