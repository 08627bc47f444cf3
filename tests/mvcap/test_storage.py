"""A shard is part of the dataset or it is not, whatever happens in between."""

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mvcap import files
from mvcap.commits import CAPTION, RENDER, STAGES, Commit, StageName
from mvcap.errors import BAD_ASSET, CorruptDatasetError, DiskFullError, LockLostError, OutputError
from mvcap.places import FileFacts
from mvcap.plan import Plan, Shard, extend_plan
from mvcap.records import Rejected
from mvcap.removals import Removal
from mvcap.schema import SCHEMA_VERSION
from mvcap.storage import Store

SHARD = Shard(0, "train", 1, ("a", "b"))


class PowerCut(BaseException):
    """Ends a test's work at any point, and is caught by nothing of ours."""


def commit_bytes(store: Store, content: bytes, stage: StageName = RENDER, **facts: Any) -> Commit:
    with store.stage_file(stage, SHARD) as path:
        path.write_bytes(content)
        return store.commit(stage, SHARD, path, **{"settings": "s", "rows": 1, "views": {"a": 1}, **facts})


def attempts(store: Store) -> list[Path]:
    return list(store.attempts.iterdir()) if store.attempts.exists() else []


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def record(**fields: Any) -> bytes:
    whole = {"stage": "render", "shard": 0, "settings": "s", "rejected": []}
    return json.dumps(whole | fields).encode()


# commits


def test_a_commit_names_the_file_its_size_and_its_checksum(store: Store):
    commit = commit_bytes(store, b"views", CAPTION, seconds=1.5, made_by={"name": "fake"})
    assert (commit.bytes, commit.generation, commit.file) == (5, 0, "data/train-00000-of-00001.parquet")
    assert commit.sha256 == files.sha256_of(store.target(CAPTION, SHARD))
    assert Store(store.root).find_commit(CAPTION, SHARD) == commit
    assert attempts(store) == []


def test_a_commit_record_survives_json_with_its_failures(store: Store):
    rejected = Rejected("b", "render", BAD_ASSET, "broken", signal="SIGSEGV", log_tail="a\n\0ü")
    commit = commit_bytes(store, b"views", rejected=(rejected,))
    assert store.read_commit(RENDER, 0) == commit
    assert commit.rejected == (rejected,)


def test_a_file_without_a_commit_record_does_not_exist(store: Store):
    store.target(RENDER, SHARD).parent.mkdir(parents=True)
    store.target(RENDER, SHARD).write_bytes(b"views")
    assert store.find_commit(RENDER, SHARD) is None


def test_a_shard_of_which_nothing_survived_is_done_and_has_no_file(store: Store):
    with store.stage_file(RENDER, SHARD) as path:
        path.write_bytes(b"a table without rows")
        commit = store.commit(RENDER, SHARD, None, settings="s")
    assert store.find_commit(RENDER, SHARD) == commit
    assert (commit.file, commit.rows, attempts(store)) == (None, 0, [])
    assert list(store.read_view_rows(SHARD)) == []


@pytest.mark.parametrize("damage", [b"", b"short", b"much too long"])
def test_a_file_of_another_size_is_not_done(store: Store, damage: bytes):
    commit_bytes(store, b"views and views")
    store.target(RENDER, SHARD).write_bytes(damage)
    assert store.find_commit(RENDER, SHARD) is None


def test_a_missing_file_is_not_done(store: Store):
    commit_bytes(store, b"views")
    store.target(RENDER, SHARD).unlink()
    assert store.find_commit(RENDER, SHARD) is None


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"3",
        b"{}",
        b"\xff\xfe",
        record(rejected=3),
        record(rejected=[{}]),
        record(unknown=1),
        record(file="../x", bytes=1),
        record(file="_mvcap/views/00000.parquet", bytes=1),
        record(file="_mvcap/views/00000.parquet", bytes=1, temporary="../x"),
        record(stage="caption", dropped=True),
    ],
)
@pytest.mark.parametrize("stage", STAGES)
def test_a_damaged_record_proves_nothing_and_the_next_commit_replaces_it(
    store: Store, stage: StageName, damaged: bytes
):
    path = store.commit_path(stage, 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged)
    (store.root / "x").write_bytes(b"1")
    assert store.find_commit(stage, SHARD) is None
    commit = commit_bytes(store, b"views", stage)
    assert store.find_commit(stage, SHARD) == commit
    assert store.target(stage, SHARD).read_bytes() == b"views"


def test_a_record_cut_at_any_byte_is_either_whole_or_nothing(store: Store):
    commit = commit_bytes(store, b"views", rejected=(Rejected("b", "render", BAD_ASSET, "broken"),))
    path = store.commit_path(RENDER, 0)
    whole = path.read_bytes()
    for length in range(len(whole) - 2):
        path.write_bytes(whole[:length])
        assert store.find_commit(RENDER, SHARD) is None
    path.write_bytes(whole)
    assert store.find_commit(RENDER, SHARD) == commit


def test_a_new_commit_replaces_the_old_one_and_its_generation_grows(store: Store):
    commit_bytes(store, b"old", CAPTION)
    second = commit_bytes(store, b"second", CAPTION)
    third = commit_bytes(store, b"third", CAPTION)
    assert (second.generation, third.generation) == (1, 2)
    assert store.find_commit(CAPTION, SHARD) == third
    assert store.target(CAPTION, SHARD).read_bytes() == b"third"
    assert attempts(store) == []


def test_a_failure_while_a_file_is_made_leaves_nothing_of_it(store: Store):
    def fail() -> None:
        with store.stage_file(RENDER, SHARD) as path:
            path.write_bytes(b"half")
            raise PowerCut

    with pytest.raises(PowerCut):
        fail()
    assert attempts(store) == []
    assert store.read_commit(RENDER, 0) is None


def test_a_full_disk_is_explained_and_leaves_nothing(store: Store):
    def fill() -> None:
        with store.stage_file(RENDER, SHARD) as path:
            path.symlink_to("/dev/full")
            path.write_bytes(b"x" * 100_000)

    with pytest.raises(DiskFullError):
        fill()
    assert attempts(store) == []


# crashes


def test_a_crash_between_record_and_rename_is_rolled_forward(store: Store, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash_when_called_on(".parquet", Path.replace))
        with pytest.raises(PowerCut):
            commit_bytes(store, b"views")
    assert not store.target(RENDER, SHARD).exists()
    again = Store(store.root)
    commit = again.find_commit(RENDER, SHARD)
    assert commit is not None
    assert files.sha256_of(again.target(RENDER, SHARD)) == commit.sha256
    assert attempts(again) == []


def crash_when_called_on(suffix: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def replace(path: Path, *arguments: Any) -> Any:
        if path.suffix == suffix:
            raise PowerCut
        return original(path, *arguments)

    return replace


def test_who_may_only_read_waits_for_what_a_crash_left_to_be_renamed(tiny_disk: Path):
    store = Store(tiny_disk)
    commit = commit_bytes(store, b"views")
    store.target(RENDER, SHARD).rename(store.attempts / (commit.temporary or ""))
    remount = ["mount", "-o", "remount,ro", str(tiny_disk)]
    subprocess.run(remount, check=True)
    assert store.find_commit(RENDER, SHARD) is None
    subprocess.run([*remount[:2], "remount,rw", remount[-1]], check=True)
    assert store.find_commit(RENDER, SHARD) == commit


def test_rows_can_be_read_right_after_a_crash_between_record_and_rename(
    make_dataset, monkeypatch: pytest.MonkeyPatch
):
    dataset = make_dataset()
    shard = dataset.plan.shards[0]
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash_when_called_on(".parquet", Path.replace))
        with pytest.raises(PowerCut):
            dataset.commit(RENDER, shard)
    tables = list(Store(dataset.store.root).read_view_rows(shard))
    assert [table.num_rows for table in tables] == [3, 3]


def test_what_a_crashed_attempt_left_never_replaces_a_later_commit(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    commit_bytes(store, b"first")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash_when_called_on(".parquet", Path.replace))
        with pytest.raises(PowerCut):
            commit_bytes(store, b"crashed")
    stale = store.read_commit(RENDER, 0)
    commit_bytes(store, b"later one")
    assert stale is not None
    store._roll_forward(stale, SHARD)  # a reader that was slow to act on what it had read
    assert store.target(RENDER, SHARD).read_bytes() == b"later one"
    assert store.find_commit(RENDER, SHARD) is not None


CHANGES = frozenset({"open", "os.rename", "os.link", "os.remove", "os.mkdir"})


def _work_until_power_fails(root: Path, step: int) -> None:
    """Render, caption and drop a shard; in front of the given change to the disk, the machine stops."""
    left = step

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE)
        if event in CHANGES and writes and str(arguments[0]).startswith(str(root)):
            left -= 1
            if left < 0:
                os._exit(9)

    sys.addaudithook(count)
    _finish(Store(root))
    os._exit(0)


def _finish(store: Store) -> None:
    """Do what a driver does: every stage that is not done."""
    if store.find_commit(RENDER, SHARD) is None:
        commit_bytes(store, b"views")
    if store.find_commit(CAPTION, SHARD) is None:
        commit_bytes(store, b"captioned views", CAPTION)
    store.drop_views(SHARD)


def test_a_power_cut_before_any_change_to_the_disk_loses_nothing_and_doubles_nothing(tmp_path: Path):
    context = multiprocessing.get_context("fork")
    for step in range(200):
        store = Store(tmp_path / str(step))
        driver = context.Process(target=_work_until_power_fails, args=(store.root, step))
        driver.start()
        driver.join(30)
        for stage in STAGES:
            commit = store.find_commit(stage, SHARD)
            if commit and not commit.dropped:
                assert files.sha256_of(store.target(stage, SHARD)) == commit.sha256, f"step {step}"
        _finish(store)
        assert store.target(CAPTION, SHARD).read_bytes() == b"captioned views", f"step {step}"
        for stage in STAGES:
            assert store.find_commit(stage, SHARD) is not None, f"step {step}"
        if driver.exitcode == 0:
            break
    assert step > 15
    assert driver.exitcode == 0


# races


def _commit_in_turns(root: str, name: str, barrier: Any, turns: int) -> None:
    for turn in range(turns):
        store, shard = Store(Path(root)), Shard(turn, "train", turns, ("a",))
        with store.stage_file(RENDER, shard) as path:
            path.write_bytes(name.encode() * 1000)
            barrier.wait()
            store.commit(RENDER, shard, path, settings=name)


@pytest.mark.parametrize("replacing", [False, True], ids=["first commit", "replacing one"])
def test_of_two_racing_attempts_only_one_counts_with_its_own_bytes(tmp_path: Path, replacing: bool):
    turns, context = 40, multiprocessing.get_context("fork")
    store, barrier = Store(tmp_path), context.Barrier(2)
    shards = [Shard(turn, "train", turns, ("a",)) for turn in range(turns)]
    for shard in shards if replacing else []:
        with store.stage_file(RENDER, shard) as path:
            path.write_bytes(b"o" * 1000)
            store.commit(RENDER, shard, path, settings="old")
    racers = [
        context.Process(target=_commit_in_turns, args=(str(tmp_path), name, barrier, turns)) for name in "ab"
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0, 0]
    for shard in shards:
        commit = store.find_commit(RENDER, shard)
        assert commit is not None
        assert store.target(RENDER, shard).read_bytes() == commit.settings.encode() * 1000
    assert attempts(store) == []


def test_the_second_of_two_first_commits_is_told_who_won(store: Store, monkeypatch: pytest.MonkeyPatch):
    with store.stage_file(RENDER, SHARD) as path:
        path.write_bytes(b"slow")
        original = files.publish

        def be_late(*arguments: Any) -> FileFacts:
            monkeypatch.setattr(files, "publish", original)
            commit_bytes(store, b"fast", settings="fast")
            return original(*arguments)

        monkeypatch.setattr(files, "publish", be_late)
        counted = store.commit(RENDER, SHARD, path, settings="slow")
    assert (counted.settings, counted.generation) == ("fast", 0)
    assert store.target(RENDER, SHARD).read_bytes() == b"fast"
    assert attempts(store) == []


# dropped views


def test_dropped_views_count_for_as_long_as_the_captions_stand(store: Store):
    commit_bytes(store, b"views")
    commit_bytes(store, b"captioned", CAPTION)
    store.drop_views(SHARD)
    assert not store.target(RENDER, SHARD).exists()
    dropped = store.find_commit(RENDER, SHARD)
    assert dropped is not None
    assert dropped.dropped
    store.commit_path(CAPTION, 0).unlink()
    assert store.find_commit(RENDER, SHARD) is None


def test_dropping_twice_or_what_was_never_rendered_changes_nothing(store: Store):
    store.drop_views(SHARD)
    assert store.read_commit(RENDER, 0) is None
    commit_bytes(store, b"views")
    commit_bytes(store, b"captioned", CAPTION)
    store.drop_views(SHARD)
    before = store.commit_path(RENDER, 0).stat()
    store.drop_views(SHARD)
    assert store.commit_path(RENDER, 0).stat() == before


def test_rows_come_from_the_views_and_from_the_data_once_those_are_dropped(make_dataset):
    dataset = make_dataset()
    shard = dataset.plan.shards[0]
    with pytest.raises(CorruptDatasetError, match="shard 0 has not been rendered"):
        list(dataset.store.read_view_rows(shard))
    dataset.commit(RENDER, shard)
    rendered = [table.to_pylist() for table in dataset.store.read_view_rows(shard)]
    dataset.commit(CAPTION, shard)
    dataset.store.drop_views(shard)
    kept = [table.to_pylist() for table in dataset.store.read_view_rows(shard)]
    assert [row["caption"] for row in rendered[0]] == [None] * 3
    assert [row["caption"] for row in kept[0]] == ["a chair"] * 3
    assert [[row["image"] for row in group] for group in kept] == [
        [row["image"] for row in group] for group in rendered
    ]
    dataset.store.commit_path(CAPTION, shard.index).unlink()
    with pytest.raises(CorruptDatasetError, match="has not been rendered"):
        list(dataset.store.read_view_rows(shard))


def test_a_flipped_byte_in_the_views_is_not_captioned(make_dataset):
    dataset = make_dataset()
    shard = dataset.plan.shards[0]
    dataset.commit(RENDER, shard)
    path = dataset.store.target(RENDER, shard)
    picture = pq.read_table(path)["image"][0]["bytes"].as_py()
    content = bytearray(path.read_bytes())
    content[content.index(picture) + 40] ^= 1
    path.write_bytes(content)
    assert dataset.store.find_commit(RENDER, shard) is not None
    with pytest.raises(OSError, match=r"CRC|checksum"):
        list(dataset.store.read_view_rows(shard))


# plan and settings


def test_the_plan_and_its_objects_are_read_back(make_dataset):
    dataset = make_dataset("abcdefg", splits={"train": 0.6, "test": 0.4})
    store = Store(dataset.store.root)
    assert store.require_plan() == dataset.plan
    in_order = [uid for shard in dataset.plan.shards for uid in shard.uids]
    assert [item.uid for item in store.read_objects()] == in_order
    for shard in dataset.plan.shards:
        assert store.read_objects(shard) == [dataset.objects[uid] for uid in shard.uids]


def test_a_folder_without_a_plan_is_no_dataset(store: Store):
    assert store.read_plan() is None
    assert store.read_objects() == []
    with pytest.raises(OutputError, match=r"is not a dataset of mvcap.*; give what --out named"):
        store.require_plan()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"{}"])
def test_a_damaged_plan_is_an_error_and_not_an_empty_dataset(store: Store, content: bytes):
    store.internal.mkdir()
    (store.internal / "plan.json").write_bytes(content)
    with pytest.raises(CorruptDatasetError, match=r"plan\.json"):
        store.read_plan()


def test_a_crash_before_the_plan_leaves_no_dataset(
    make_object, store: Store, monkeypatch: pytest.MonkeyPatch
):
    item = make_object("a")
    plan = extend_plan(Plan(0, 2, {"train": 1.0}), [item.uid])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash_when_called_on(".json", Path.replace))
        with pytest.raises(PowerCut):
            store.write_plan(plan, [item], [])
    assert store.read_plan() is None
    store.write_plan(plan, [item], [])
    assert store.require_plan() == plan


def test_listing_failures_are_read_back(store: Store):
    failures = [Rejected("a", "list", BAD_ASSET, "gone")]
    store.write_plan(Plan(0, 2, {"train": 1.0}), [], failures)
    assert store.read_listing_failures() == failures


def test_settings_are_found_by_their_hash_and_kept_once(store: Store):
    digest = store.remember_settings(RENDER, {"views": 3})
    written = next((store.internal / "settings").iterdir()).stat()
    assert store.remember_settings(RENDER, {"views": 3}) == digest
    assert next((store.internal / "settings").iterdir()).stat() == written
    assert store.settings(RENDER, digest) == {"views": 3}
    assert store.settings(RENDER, "lost") == {}


def test_leftovers_of_killed_runs_are_cleared_and_commits_stay(make_dataset):
    dataset = make_dataset().finish()
    store = dataset.store
    (store.attempts / ".attempt-0123456789ab-00000.parquet").write_bytes(b"half")
    before = {path: path.read_bytes() for path in store.root.rglob("*.parquet") if "attempt" not in path.name}
    store.clear_attempts()
    assert attempts(store) == []
    assert before == {path: path.read_bytes() for path in store.root.rglob("*.parquet")}
    assert json.loads(store.commit_path(CAPTION, 0).read_bytes())["rows"] == 6


def test_who_lost_the_dataset_clears_and_removes_nothing(store: Store):
    def guard() -> None:
        raise LockLostError("taken over")

    unfinished = store.attempts / f"{files.TEMPORARY}0123456789ab-00001.parquet"
    files.write_bytes(unfinished, b"its successor's")
    store.guard = guard
    with pytest.raises(LockLostError):
        store.clear_attempts()
    with pytest.raises(LockLostError):
        store.write_removals({"a": Removal("a", "why", 0.0)})
    assert unfinished.exists()
    assert store.read_removals() == {}


def test_an_attempt_that_began_before_another_ones_commit_changes_nothing(store: Store):
    generation = store.next_generation(RENDER, SHARD)
    with store.stage_file(RENDER, SHARD) as late:
        late.write_bytes(b"late")
        with store.stage_file(RENDER, SHARD) as early:
            early.write_bytes(b"early")
            winner = store.commit(RENDER, SHARD, early, generation=generation, settings="s", rows=1)
        assert store.commit(RENDER, SHARD, late, generation=generation, settings="s", rows=1) == winner
    assert store.target(RENDER, SHARD).read_bytes() == b"early"


def test_a_record_of_a_newer_mvcap_is_refused(store: Store):
    store.commit(RENDER, SHARD, None, settings="s")
    path = store.commit_path(RENDER, SHARD.index)
    newer = json.loads(path.read_text()) | {"schema_version": SCHEMA_VERSION + 1}
    path.write_text(json.dumps(newer))
    with pytest.raises(CorruptDatasetError, match=f"schema version {SCHEMA_VERSION + 1}"):
        store.find_commit(RENDER, SHARD)


def test_views_that_were_dropped_but_not_deleted_are_cleared(store: Store):
    with store.stage_file(RENDER, SHARD) as path:
        path.write_bytes(b"views")
        store.commit(RENDER, SHARD, path, settings="s", rows=1)
    store.drop_views(SHARD)
    store.target(RENDER, SHARD).write_bytes(b"views")  # as a crash between record and deletion leaves it
    store.clear_attempts()
    assert not store.target(RENDER, SHARD).exists()


# our own records, damaged

DAMAGED = [b"", b"{", b"[", b"3", b"\xff\xfe", b"[3]"]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_objects_are_an_error_that_says_what_to_do(make_dataset, content: bytes):
    store = make_dataset().store
    store.objects_path.write_bytes(content)
    with pytest.raises(CorruptDatasetError, match=r"objects\.parquet is damaged: .*delete it and run"):
        store.read_objects()


def test_planned_objects_that_are_lost_are_not_an_empty_shard(make_dataset):
    dataset = make_dataset()
    dataset.store.objects_path.unlink()
    with pytest.raises(CorruptDatasetError, match=r"objects\.parquet is missing"):
        dataset.store.read_objects(dataset.plan.shards[0])


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_listing_failures_settings_and_configuration_are_errors(store: Store, content: bytes):
    digest = store.remember_settings(RENDER, {"views": 3})
    for path, read in (
        (store.listing_failures_path, store.read_listing_failures),
        (store.settings_path(RENDER, digest), lambda: store.settings(RENDER, digest)),
        (store.config_path, store.read_config),
    ):
        path.write_bytes(content)
        with pytest.raises(CorruptDatasetError, match=rf"{path.name} is damaged: .*delete it"):
            read()


def test_settings_that_do_not_have_their_hash_are_damaged(store: Store):
    digest = store.remember_settings(RENDER, {"views": 3})
    store.settings_path(RENDER, digest).write_text('{"views": 4}')
    with pytest.raises(CorruptDatasetError, match="does not have the hash in its name"):
        store.settings(RENDER, digest)


def test_a_strange_file_among_the_views_is_left_alone(make_dataset):
    store = make_dataset().finish().store
    (store.views / "foo.parquet").write_bytes(b"x")
    store.clear_attempts()
    assert (store.views / "foo.parquet").read_bytes() == b"x"
