"""How a shard becomes part of a dataset in storage: one conditional put, and a copy on the server."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mvcap import files, object_files
from mvcap.commits import CAPTION, RENDER, Commit, StageName
from mvcap.errors import LockLostError
from mvcap.places import ObjectPlace
from mvcap.plan import Plan, Shard
from mvcap.storage import Store

SHARD = Shard(0, "train", 1, ("a", "b"))


@pytest.fixture
def store(s3: Any) -> Store:
    return Store(ObjectPlace(s3.bucket, "sets/one"))


def commit_bytes(
    store: Store, content: bytes, stage: StageName = RENDER, *, settings: str = "s", **facts: Any
) -> Commit:
    with store.stage_file(stage, SHARD) as path:
        path.write_bytes(content)
        return store.commit(stage, SHARD, path, settings=settings, **facts)


def content_of(store: Store, stage: StageName = RENDER) -> bytes:
    return files.read_bytes(store.target(stage, SHARD))


def test_a_commit_is_an_upload_then_one_conditional_put_then_a_copy(store: Store, s3: Any):
    commit = commit_bytes(store, b"abc")
    puts = [(request.key.removeprefix("sets/one/_mvcap/"), request.headers) for request in s3.seen("PUT")]
    assert [key for key, _ in puts] == [
        f"attempts/{commit.temporary}", "commits/render/00000.json", "views/00000.parquet",
    ]  # fmt: skip
    assert puts[1][1]["if_none_match"] == "*"
    assert puts[2][1]["x_amz_copy_source"].endswith(f"/attempts/{commit.temporary}")
    assert content_of(store) == b"abc"
    assert files.list_files(store.attempts) == []
    assert store.find_commit(RENDER, SHARD) == commit


def test_the_next_generation_replaces_the_record_it_followed(store: Store, s3: Any):
    commit_bytes(store, b"old")
    _, version = files.read_versioned(store.commit_path(RENDER, 0))
    s3.requests.clear()
    commit = commit_bytes(store, b"new")
    [put] = s3.seen("PUT", "commits/render/00000.json")
    assert put.headers["if_match"] == version
    assert (commit.generation, content_of(store)) == (1, b"new")


def test_of_many_attempts_at_once_one_counts_and_its_file_is_there(store: Store):
    together = threading.Barrier(5)

    def attempt(number: int) -> Commit:
        with store.stage_file(RENDER, SHARD) as path:
            path.write_bytes(b"attempt %d" % number)
            together.wait()
            return store.commit(RENDER, SHARD, path, generation=0, settings=str(number))

    with ThreadPoolExecutor(5) as pool:
        counted = list(pool.map(attempt, range(5)))
    assert len({commit.settings for commit in counted}) == 1
    assert content_of(store) == b"attempt " + counted[0].settings.encode()
    assert files.list_files(store.attempts) == []
    assert store.find_commit(RENDER, SHARD) == counted[0]


def test_an_upload_without_a_record_does_not_exist_and_is_cleared(store: Store, s3: Any, tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abc")
    files.publish(tmp_path / "x", store.attempts / ".attempt-0123-00000.parquet")
    object_files._call("create_multipart_upload", Bucket=s3.bucket, Key="sets/one/_mvcap/attempts/.attempt-4")
    assert store.find_commit(RENDER, SHARD) is None
    store.clear_attempts()
    assert files.list_files(store.root) == []
    assert not object_files._call("list_multipart_uploads", Bucket=s3.bucket).get("Uploads")


def test_a_failed_stage_leaves_no_upload_and_nothing_on_this_machine(store: Store):
    def fail() -> None:
        with store.stage_file(RENDER, SHARD) as path:
            path.write_bytes(b"half")
            kept.append(path)
            raise KeyboardInterrupt

    kept: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert files.list_files(store.root) == []
    assert not kept[0].parent.exists()


def test_a_late_copy_of_an_older_generation_is_known_by_its_checksum(store: Store, tmp_path: Path):
    """Storage copies over whatever is there; a driver that lost its lease may have a copy under way."""
    commit_bytes(store, b"old", CAPTION)
    commit_bytes(store, b"new", CAPTION)  # of the same size
    (tmp_path / "late").write_bytes(b"old")
    files.publish(tmp_path / "late", store.target(CAPTION, SHARD))
    assert store.find_commit(CAPTION, SHARD) is None
    commit_bytes(store, b"anew", CAPTION)
    assert content_of(store, CAPTION) == b"anew"


def test_who_copied_an_old_file_late_puts_the_present_one_in_its_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    commit_bytes(store, b"old")
    old = store.read_commit(RENDER, 0)
    assert old
    files.write_bytes(store.attempts / str(old.temporary), b"old")
    files.delete(store.target(RENDER, SHARD))
    original = files.move

    def be_overtaken(source: Any, target: Any) -> None:
        monkeypatch.setattr(files, "move", lambda *_: None)  # the new driver is killed before its copy
        commit_bytes(store, b"newer")
        monkeypatch.setattr(files, "move", original)
        original(source, target)

    monkeypatch.setattr(files, "move", be_overtaken)
    store.find_commit(RENDER, SHARD)
    assert content_of(store) == b"newer"
    assert files.list_files(store.attempts) == []


def test_files_that_lost_their_checksum_on_the_way_count_by_their_size(store: Store):
    """As after a copy of the dataset by way of a disk."""
    commit = commit_bytes(store, b"abc")
    where = {"Bucket": store.target(RENDER, SHARD).bucket, "Key": store.target(RENDER, SHARD).key}
    object_files._call("put_object", Body=b"abc", **where)
    assert store.find_commit(RENDER, SHARD) == commit
    object_files._call("put_object", Body=b"abcd", **where)
    assert store.find_commit(RENDER, SHARD) is None


def test_nothing_is_uploaded_or_recorded_once_the_lease_is_lost(store: Store, s3: Any):
    def lost() -> None:
        raise LockLostError("by the test")

    def lost_meanwhile() -> Callable[[], None]:
        calls = iter([lambda: None, lost])
        return lambda: next(calls)()

    for guard in (lost, lost_meanwhile()):
        guarded = Store(store.root, guard)
        with pytest.raises(LockLostError):
            commit_bytes(guarded, b"late")
        assert files.list_files(store.root) == []
    with pytest.raises(LockLostError):
        Store(store.root, lost).write_plan(Plan(0, 1, {"train": 1.0}), [], [])
    assert files.list_files(store.root) == []


def test_dropped_views_go_and_their_record_says_so(store: Store):
    commit_bytes(store, b"views")
    commit_bytes(store, b"captioned", CAPTION)
    store.drop_views(SHARD)
    assert not files.exists(store.target(RENDER, SHARD))
    dropped = store.find_commit(RENDER, SHARD)
    assert dropped
    assert dropped.dropped


def test_a_damaged_record_is_written_anew(store: Store):
    commit_bytes(store, b"old")
    files.write_bytes(store.commit_path(RENDER, 0), b"{torn")
    assert store.find_commit(RENDER, SHARD) is None
    commit = commit_bytes(store, b"new")
    assert store.find_commit(RENDER, SHARD) == commit
    assert content_of(store) == b"new"
