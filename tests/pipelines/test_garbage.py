"""Garbage is what no commit needs; nothing else goes."""

import pytest

from mvcap import files
from mvcap.commits import CAPTION, RENDER
from mvcap.errors import DatasetLockedError, OutputError
from mvcap.plan import Plan
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.garbage import collect_garbage
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c")


def run(config, out, runner=None, **request):
    return build(config, Request(out, **request), runner or LocalRunner(), lambda _: None)


def contents(out):
    return {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def littered(models, fake_config, tmp_path):
    """A finished dataset with an unfinished file, a shard set aside, and views left by a killed run."""
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out, LocalRunner(drop_views=False))
    store = Store(out)
    path = store.target(CAPTION, store.require_plan().shards[0])
    path.write_bytes(path.read_bytes() + b"?")
    verify_dataset(out)
    run(config, out, LocalRunner(drop_views=False))
    clean = contents(out)
    (store.attempts / f"{files.TEMPORARY}0123456789ab-00000.parquet").write_bytes(b"x" * 1000)
    return config, out, clean


def test_all_of_it_is_found_with_its_bytes_and_deleted(littered):
    _, out, _ = littered
    store = Store(out)
    before = contents(out)
    found = collect_garbage(out, lambda _: None, delete=False)
    assert contents(out) == before
    views = {store.name_of(path) for path in store.views.glob("*.parquet")}
    assert {item.file for item in found if "captioned" in item.what} == views
    assert len(views) == 1  # a build removes those of shards that it need not do
    assert [item.bytes for item in found if "unfinished" in item.what] == [1000]
    (broken,) = [item for item in found if "broken" in item.what]
    assert broken.bytes == (out / broken.file).stat().st_size
    assert collect_garbage(out, lambda _: None, delete=True) == found
    assert not any((out / item.file).exists() for item in found)
    assert verify_dataset(out) == []
    assert collect_garbage(out, lambda _: None, delete=True) == []


def test_a_build_afterwards_has_nothing_to_do(littered):
    config, out, _ = littered
    collect_garbage(out, lambda _: None, delete=True)
    before = contents(out)
    run(config, out)
    assert contents(out) == before


def test_views_that_are_kept_on_purpose_or_wait_for_captions_stay(models, fake_config, tmp_path):
    kept = fake_config(models(*NAMES), run__keep_views="true")
    run(kept, tmp_path / "kept", LocalRunner(drop_views=False))
    assert collect_garbage(tmp_path / "kept", lambda _: None, delete=True) == []
    silent = fake_config(models(), captions__options__empty_for="[cups]")
    run(silent, tmp_path / "silent")
    assert collect_garbage(tmp_path / "silent", lambda _: None, delete=True) == []
    assert len(list((tmp_path / "silent/_mvcap/views").glob("*"))) == 1
    run(kept, tmp_path / "rendered", part=(0, 2), caption=False)
    assert collect_garbage(tmp_path / "rendered", lambda _: None, delete=True) == []


def test_a_commit_that_was_cut_off_before_its_file_had_its_name_is_finished(littered):
    _, out, _ = littered
    store = Store(out)
    shard = store.require_plan().shards[1]
    commit = store.read_commit(CAPTION, shard.index)
    data = store.target(CAPTION, shard)
    data.rename(store.attempts / commit.temporary)
    found = collect_garbage(out, lambda _: None, delete=True)
    assert commit.temporary not in {item.file.rpartition("/")[2] for item in found}
    assert data.exists()
    assert store.find_commit(RENDER, shard)


def test_nothing_is_deleted_beside_a_driver_at_work_or_outside_a_dataset(littered, tmp_path):
    _, out, _ = littered
    with Store(out).lock(None), pytest.raises(DatasetLockedError):
        collect_garbage(out, lambda _: None, delete=True)
    with pytest.raises(OutputError, match="not a dataset"):
        collect_garbage(tmp_path, lambda _: None, delete=True)


def test_it_makes_room_on_a_disk_that_is_full_to_the_last_byte(tiny_disk):
    store = Store(tiny_disk / "out")
    store.write_plan(Plan(0, 1, {"train": 1.0}), [], [])
    left = store.attempts / f"{files.TEMPORARY}0123456789ab-00000.parquet"
    left.parent.mkdir()
    with pytest.raises(OSError, match="No space left"):
        left.write_bytes(b"x" * 2**17)
    (found,) = collect_garbage(store.root, lambda _: None, delete=True)
    assert found.bytes > 0
    assert not left.exists()
    assert (store.internal / "lock").read_bytes() == b""
