"""What checksums cannot tell: files that are as they were committed, and wrong all the same."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image

from mvcap import schema
from mvcap.commits import CAPTION, RENDER, UNCAPTIONED
from mvcap.errors import EMPTY_CAPTION, EMPTY_RENDER
from mvcap.records import Rejected
from mvcap.tables import TableWriter
from mvcap.verify import verify_dataset


@pytest.fixture
def dataset(make_dataset):
    """Two shards of two objects with three views each, finished."""
    return make_dataset("abcd").finish()


def recommit(dataset, change: Callable[[list[dict[str, Any]]], None], **facts: Any) -> None:
    """Commit shard 0 once more, each object's rows changed."""
    shard = dataset.plan.shards[0]
    rows = pq.read_table(dataset.store.target(CAPTION, shard)).to_pylist()
    views = dict.fromkeys(shard.uids, 3)
    with dataset.store.stage_file(CAPTION, shard) as path:
        with TableWriter(path, schema.VIEW_SCHEMA) as writer:
            for uid in shard.uids:
                own = [row for row in rows if row["uid"] == uid]
                change(own)
                writer.write(own)
        dataset.store.commit(CAPTION, shard, path, **{"settings": "s", "rows": 6, "views": views} | facts)


def found(dataset) -> dict[str, str]:
    return {p.file: p.message for p in verify_dataset(dataset.store.root, mark=False, deep=True)}


def flaw(dataset, change: Callable[[list[dict[str, Any]]], None], **facts: Any) -> str:
    """Return the flaw of shard 0 that a deep look finds, and the other one does not."""
    recommit(dataset, change, **facts)
    assert verify_dataset(dataset.store.root, mark=False) == []
    (message,) = found(dataset).values()
    return message


def setting(column: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    """Change a column of the first view of each object."""
    return lambda rows: rows[0].update({column: value})


def test_a_whole_dataset_has_no_flaws(dataset):
    assert found(dataset) == {}


def test_a_picture_that_cannot_be_decoded_is_named(dataset):
    def cut(rows: list[dict[str, Any]]) -> None:
        rows[1]["image"]["bytes"] = rows[1]["image"]["bytes"][:300]

    uid = dataset.plan.shards[0].uids[0]
    assert flaw(dataset, cut).startswith(f"image of {uid} view 1 cannot be decoded: ")
    message = flaw(dataset, setting("image", {"bytes": b"nothing", "path": "i.jpg"}))
    assert message.startswith(f"image of {uid} view 0 cannot be decoded: of no known format")


def test_a_picture_of_another_size_than_its_row_says_is_named(dataset):
    Image.new("L", (5, 7)).save(buffer := io.BytesIO(), "PNG")
    message = flaw(dataset, setting("mask", {"bytes": buffer.getvalue(), "path": "m.png"}))
    assert message.startswith(
        f"mask of {dataset.plan.shards[0].uids[0]} view 0 is 5 x 7; its row says 24 x 24"
    )


@pytest.mark.parametrize(("orientation", "is_flaw"), [(6, False), (3, True)])
def test_a_photograph_that_lies_on_its_side_has_its_rows_size_once_it_is_upright(
    dataset, orientation: int, is_flaw: bool
):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (30, 20)).save(buffer := io.BytesIO(), "JPEG", exif=exif)
    stored = {"bytes": buffer.getvalue(), "path": "photo.jpg"}
    recommit(dataset, lambda rows: rows[0].update(image=stored, width=20, height=30))
    assert bool(found(dataset)) == is_flaw


def test_no_picture_at_all_is_a_flaw(dataset):
    assert flaw(dataset, setting("image", None)).endswith("view 0 has no picture")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("caption", None, "has no caption, and its shard is captioned"),
        ("caption", "  ", "has no caption, and its shard is captioned"),
        ("prompt", None, "has a caption without its prompt or captioner"),
        ("captioner", None, "has a caption without its prompt or captioner"),
        ("split", "test", "is 'test', and should be 'train'"),
        ("category", "cup", "is 'cup', and should be 'chair'"),
        ("source_id", "x", "is 'x', and should be 'a'"),
        ("duplicate_of", "b", "is 'b', and should be None"),
        ("camera_to_world", [0.0] * 15, "is not a matrix of 16 finite numbers"),
        ("camera_to_world", [float("nan")] * 16, "is not a matrix of 16 finite numbers"),
    ],
)
def test_what_a_row_says_is_compared(dataset, column: str, value: Any, message: str):
    assert message in flaw(dataset, setting(column, value))


def test_a_caption_where_nothing_was_captioned_is_a_flaw(dataset):
    for shard in dataset.plan.shards:
        dataset.commit(CAPTION, shard, settings=UNCAPTIONED)
    assert all("has a caption before it was captioned" in message for message in found(dataset).values())


def test_rows_are_counted_for_each_object(dataset):
    first, second = dataset.plan.shards[0].uids
    message = flaw(dataset, lambda rows: None, views={first: 4, second: 5})
    assert f"{first} has 3 rows; its commit says 4" in message
    assert f"{second} has 3 rows; its commit says 5" in message


def test_views_of_one_object_may_come_from_different_files(dataset):
    """As imported pictures do, and what is rendered again from a mended model."""
    uid = dataset.plan.shards[0].uids[0]
    recommit(dataset, setting("asset_sha256", "aa"), assets={uid: {"asset_sha256": "bb"}})
    assert found(dataset) == {}


def test_many_flaws_are_counted_and_some_told(dataset):
    assert flaw(dataset, lambda rows: [row.update(caption=None) for row in rows] and None).endswith(
        "; and 3 more like these"
    )


def test_objects_that_share_a_row_group_are_a_flaw(dataset):
    shard = dataset.plan.shards[0]
    table = pq.read_table(dataset.store.target(CAPTION, shard))
    with dataset.store.stage_file(CAPTION, shard) as path:
        with TableWriter(path, schema.VIEW_SCHEMA) as writer:
            writer.write_table(pa.Table.from_pylist(table.to_pylist(), schema=schema.VIEW_SCHEMA))
        views = dict.fromkeys(shard.uids, 3)
        dataset.store.commit(CAPTION, shard, path, settings="s", rows=6, views=views)
    assert "share a row group" in found(dataset)["data/train-00000-of-00002.parquet"]


# what is missing without a reason


def forget_in_render(dataset, uid: str, **changes: Any) -> None:
    commit = dataset.store.read_commit(RENDER, 0)
    assert commit
    dataset.store.amend(replace(commit, views={k: v for k, v in commit.views.items() if k != uid}, **changes))


def test_an_object_with_neither_views_nor_a_failure_is_found_and_its_shard_done_again(dataset):
    shard = dataset.plan.shards[0]
    uid = shard.uids[0]
    dataset.store.drop_views(shard)
    forget_in_render(dataset, uid)
    assert found(dataset) == {"_mvcap/commits/caption/00000.json": f"{uid} has neither a view nor a failure"}
    verify_dataset(dataset.store.root, deep=True)
    assert dataset.store.read_commit(CAPTION, 0) is None
    assert dataset.store.read_commit(RENDER, 0) is None
    assert dataset.store.read_commit(CAPTION, 1) is not None


def test_an_object_that_failed_is_not_missing(dataset):
    uid = dataset.plan.shards[0].uids[0]
    dataset.store.drop_views(dataset.plan.shards[0])
    forget_in_render(dataset, uid, rejected=(Rejected(uid, RENDER, EMPTY_RENDER, "nothing to see"),))
    assert found(dataset) == {}


def test_a_view_that_no_caption_came_of_is_missing_unless_it_was_rejected(dataset):
    shard = dataset.plan.shards[0]
    uid = shard.uids[0]

    def drop_first(rows: list[dict[str, Any]]) -> None:
        if rows[0]["uid"] == uid:
            del rows[0]

    facts = {"rows": 5, "views": {uid: 2, shard.uids[1]: 3}}
    recommit(dataset, drop_first, **facts)
    lost = f"{uid} has 2 of its 3 views, and no failure says why"
    assert set(found(dataset).values()) == {lost}
    told = (Rejected(uid, CAPTION, EMPTY_CAPTION, "wrote nothing", view_index=0),)
    recommit(dataset, lambda rows: None, **facts, rejected=told)
    assert found(dataset) == {}
