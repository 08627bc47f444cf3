"""Damage is found, set aside, and made anew; nothing else is touched."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mvcap import files, schema
from mvcap.commits import CAPTION, RENDER, UNCAPTIONED
from mvcap.errors import CorruptDatasetError, DatasetLockedError, OutputError
from mvcap.locks import dataset_lock
from mvcap.storage import Store
from mvcap.tables import TableWriter
from mvcap.verify import Problem, verify_dataset


@pytest.fixture
def dataset(make_dataset):
    """Three shards, finished, with the views dropped as a build does."""
    return make_dataset("abcdef").finish(drop_views=True)


def flip_byte_in_picture(path: Path) -> None:
    picture = pq.read_table(path)["image"][1]["bytes"].as_py()
    content = bytearray(path.read_bytes())
    content[content.index(picture) + len(picture) // 2] ^= 4
    path.write_bytes(content)


def data_file(dataset, index: int) -> Path:
    path: Path = dataset.store.target(CAPTION, dataset.plan.shards[index])
    return path


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def messages(problems: list[Problem]) -> dict[str, str]:
    return {problem.file: problem.message for problem in problems}


def test_a_whole_dataset_has_no_problems_and_is_left_untouched(dataset):
    files.write_bytes(dataset.store.root / "README.md", b"card")
    before = snapshot(dataset.store.root)
    assert verify_dataset(dataset.store.root, mark=False) == []
    assert snapshot(dataset.store.root) == before
    assert verify_dataset(dataset.store.root) == []
    assert snapshot(dataset.store.root) == before | {"_mvcap/lock": b""}


def test_what_is_no_dataset_is_refused_and_left_alone(tmp_path: Path):
    with pytest.raises(OutputError):
        verify_dataset(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_byte_in_a_picture_is_found_though_a_plain_read_does_not_notice(dataset):
    flip_byte_in_picture(data_file(dataset, 1))
    assert pq.read_table(data_file(dataset, 1)).num_rows == 6
    (problem,) = verify_dataset(dataset.store.root, mark=False)
    assert problem.file == "data/train-00001-of-00003.parquet"
    assert problem.message == "has another content than its commit's checksum"


def test_only_the_broken_shard_is_set_aside_and_its_dropped_views_are_forgotten(dataset):
    store, shards = dataset.store, dataset.plan.shards
    others = {path: path.read_bytes() for path in (data_file(dataset, 0), data_file(dataset, 2))}
    broken = data_file(dataset, 1)
    flip_byte_in_picture(broken)
    damaged = broken.read_bytes()
    verify_dataset(store.root)
    assert not broken.exists()
    assert [path.read_bytes() for path in (store.internal / "broken").iterdir()] == [damaged]
    assert [store.find_commit(CAPTION, shard) is not None for shard in shards] == [True, False, True]
    assert [store.find_commit(RENDER, shard) is not None for shard in shards] == [True, False, True]
    assert store.read_commit(RENDER, 1) is None  # dropped views cannot be captioned: render again
    assert {path: path.read_bytes() for path in others} == others


def test_the_shard_made_anew_is_whole_again(dataset):
    flip_byte_in_picture(data_file(dataset, 1))
    verify_dataset(dataset.store.root)
    (problem,) = verify_dataset(dataset.store.root)
    assert problem.message == "1 of 3 shards is not committed: 1"
    dataset.commit(RENDER, dataset.plan.shards[1])
    dataset.commit(CAPTION, dataset.plan.shards[1])
    assert verify_dataset(dataset.store.root) == []


def test_kept_views_survive_when_only_the_captions_are_broken(make_dataset):
    dataset = make_dataset().finish()
    flip_byte_in_picture(data_file(dataset, 0))
    verify_dataset(dataset.store.root)
    assert dataset.store.find_commit(RENDER, dataset.plan.shards[0]) is not None
    assert dataset.store.find_commit(CAPTION, dataset.plan.shards[0]) is None


def test_broken_views_are_set_aside_and_the_captions_stay(make_dataset):
    dataset = make_dataset().finish()
    store, shard = dataset.store, dataset.plan.shards[0]
    flip_byte_in_picture(store.target(RENDER, shard))
    assert list(messages(verify_dataset(store.root))) == ["_mvcap/views/00000.parquet"]
    assert store.find_commit(RENDER, shard) is None
    assert store.find_commit(CAPTION, shard) is not None


def test_a_dry_run_reports_and_changes_nothing(dataset):
    flip_byte_in_picture(data_file(dataset, 0))
    before = snapshot(dataset.store.root)
    assert verify_dataset(dataset.store.root, mark=False)
    assert snapshot(dataset.store.root) == before


def test_truncated_and_missing_files_are_told_apart(dataset):
    size = data_file(dataset, 0).stat().st_size
    data_file(dataset, 0).write_bytes(data_file(dataset, 0).read_bytes()[:-100])
    data_file(dataset, 1).unlink()
    found = messages(verify_dataset(dataset.store.root, mark=False))
    assert found["data/train-00000-of-00003.parquet"] == f"has {size - 100} bytes; its commit says {size}"
    assert found["data/train-00001-of-00003.parquet"] == "is missing"
    assert found["data"] == "2 of 3 shards are not committed: 0, 1"


def test_a_second_look_after_setting_aside_finds_only_what_is_to_be_done(dataset):
    data_file(dataset, 0).write_bytes(b"")
    data_file(dataset, 1).unlink()
    verify_dataset(dataset.store.root)
    assert messages(verify_dataset(dataset.store.root)) == {"data": "2 of 3 shards are not committed: 0, 1"}


# files that match their checksum and are wrong all the same


def recommit(dataset, index: int, table: pa.Table, *, rows: int) -> None:
    shard = dataset.plan.shards[index]
    with dataset.store.stage_file(CAPTION, shard) as path:
        with TableWriter(path, table.schema) as writer:
            writer.write_table(table)
        dataset.store.commit(CAPTION, shard, path, settings="s", rows=rows, views={})


def flaw_after_recommit(dataset, table: pa.Table, *, rows: int) -> str:
    recommit(dataset, 0, table, rows=rows)
    (problem,) = verify_dataset(dataset.store.root, mark=False)
    return problem.message


def test_rows_that_stand_twice_are_found(dataset):
    table = pq.read_table(data_file(dataset, 0))
    doubled = pa.concat_tables([table, table.slice(0, 2)])
    assert flaw_after_recommit(dataset, doubled, rows=8) == "holds 2 rows twice"


def test_missing_rows_are_found(dataset):
    table = pq.read_table(data_file(dataset, 0))
    assert flaw_after_recommit(dataset, table.slice(1), rows=6) == "has 5 rows; its commit says 6"


def test_objects_of_another_shard_are_found(dataset):
    table = pq.read_table(data_file(dataset, 1))
    assert flaw_after_recommit(dataset, table, rows=6).startswith("holds objects of another shard: ")


def test_a_file_of_a_newer_version_is_found(dataset):
    table = pq.read_table(data_file(dataset, 0))
    newer = table.replace_schema_metadata({"mvcap_schema": str(schema.SCHEMA_VERSION + 1)})
    assert "this mvcap reads up to" in flaw_after_recommit(dataset, newer, rows=6)


def test_a_file_that_is_no_table_is_found(dataset):
    shard = dataset.plan.shards[0]
    with dataset.store.stage_file(CAPTION, shard) as path:
        path.write_bytes(b"PAR1 but not really PAR1")
        dataset.store.commit(CAPTION, shard, path, settings="s", rows=6)
    (problem,) = verify_dataset(dataset.store.root, mark=False)
    assert problem.message.startswith("cannot be read: ")


# what no commit put there


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data/train-00009-of-00003.parquet", "is not of this dataset"),
        ("data/notes.txt", "is not of this dataset"),
        (".hidden", "is not of this dataset"),
        ("report/sheets/.attempt-0123456789ab-train.png", "is a leftover of an attempt"),
    ],
)
def test_foreign_files_are_listed_and_left_alone(dataset, name: str, message: str):
    path = dataset.store.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    assert messages(verify_dataset(dataset.store.root)) == {name: message}
    assert path.read_bytes() == b"x"


def test_a_data_file_whose_record_is_gone_is_foreign(dataset):
    dataset.store.commit_path(CAPTION, 1).unlink()
    found = messages(verify_dataset(dataset.store.root, mark=False))
    assert found["data/train-00001-of-00003.parquet"] == "is not of this dataset"
    assert found["data"] == "1 of 3 shards is not committed: 1"


@pytest.fixture
def finished(dataset):
    """A dataset with the checksums of its summaries, as a build leaves it."""
    store = dataset.store
    for name in ("README.md", "objects.parquet"):
        files.write_bytes(store.root / name, name.encode())
    checksums = {name: files.sha256_of(store.root / name) for name in ("README.md", "objects.parquet")}
    files.write_json(store.internal / "finished.json", {"commits": "c", "files": checksums})
    return dataset


def test_changed_and_missing_summaries_are_found(finished):
    assert verify_dataset(finished.store.root) == []
    (finished.store.root / "README.md").write_text("changed by hand")
    (finished.store.root / "objects.parquet").unlink()
    assert messages(verify_dataset(finished.store.root)) == {
        "README.md": "was changed after the build",
        "objects.parquet": "is missing",
    }


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"files": 3}'])
def test_a_damaged_marker_is_a_problem_and_not_a_crash(finished, content: bytes):
    (finished.store.internal / "finished.json").write_bytes(content)
    assert list(messages(verify_dataset(finished.store.root))) == ["_mvcap/finished.json"]


def test_setting_a_shard_aside_makes_the_next_run_write_the_summaries_again(finished):
    data_file(finished, 0).unlink()
    verify_dataset(finished.store.root)
    assert not (finished.store.internal / "finished.json").exists()


def test_an_interrupted_commit_is_completed_and_no_problem(dataset):
    store, shard = dataset.store, dataset.plan.shards[0]
    record = json.loads(store.commit_path(CAPTION, 0).read_bytes())
    data_file(dataset, 0).rename(store.attempts / record["temporary"])
    assert verify_dataset(store.root) == []
    assert Store(store.root).find_commit(CAPTION, shard) is not None


def test_verify_keeps_out_of_the_way_of_a_driver(dataset):
    with dataset_lock(dataset.store.internal):
        with pytest.raises(DatasetLockedError):
            verify_dataset(dataset.store.root)
        assert verify_dataset(dataset.store.root, mark=False) == []


def test_a_damaged_plan_is_an_error(dataset):
    (dataset.store.internal / "plan.json").write_bytes(b"{")
    with pytest.raises(CorruptDatasetError, match=r"plan\.json is damaged"):
        verify_dataset(dataset.store.root)


# our own records


@pytest.fixture
def recorded(finished):
    """A dataset with all the records that a build leaves."""
    store = finished.store
    digest = store.remember_settings(RENDER, {"views": 3})
    files.write_bytes(store.config_path, b"config: {name: x}\nstages: {}\n")
    assert digest
    assert verify_dataset(store.root) == []
    return finished


@pytest.mark.parametrize(
    "pattern",
    ["objects.parquet", "listing_failures.json", "config.yaml", "settings/*", "commits/render/00000*"],
)
@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_a_damaged_record_is_found_and_left_for_its_remedy(recorded, pattern: str, content: bytes):
    (path,) = recorded.store.internal.glob(pattern)
    path.write_bytes(content)
    (problem,) = verify_dataset(recorded.store.root)
    assert problem.file == str(path.relative_to(recorded.store.root))
    assert problem.message.startswith("is damaged")
    assert path.read_bytes() == content


def test_objects_of_another_plan_are_found(recorded, make_dataset):
    other = make_dataset("abc")
    recorded.store.objects_path.write_bytes(other.store.objects_path.read_bytes())
    assert (
        "does not hold the plan's objects"
        in messages(verify_dataset(recorded.store.root))["_mvcap/objects.parquet"]
    )


def test_a_strange_file_among_the_views_is_listed(recorded):
    files.write_bytes(recorded.store.views / "foo.parquet", b"x")
    assert messages(verify_dataset(recorded.store.root)) == {
        "_mvcap/views/foo.parquet": "is not of this dataset"
    }


def test_shards_made_with_different_settings_are_found(make_dataset):
    dataset = make_dataset("abcdef").finish()
    dataset.commit(CAPTION, dataset.plan.shards[1], settings="t")
    (problem,) = verify_dataset(dataset.store.root)
    assert problem.message.startswith(
        "the caption shards were made with 2 different settings: s (2 shards), t (1 shards)"
    )
    dataset.commit(CAPTION, dataset.plan.shards[1], settings=UNCAPTIONED)
    assert verify_dataset(dataset.store.root) == []  # not captioned yet is not captioned otherwise


def test_a_dataset_that_cannot_be_written_is_checked_with_dry_run(dataset):
    (dataset.store.internal / "lock").mkdir()  # refuses an open for writing, also to root
    with pytest.raises(OutputError, match="use --dry-run"):
        verify_dataset(dataset.store.root)
    assert verify_dataset(dataset.store.root, mark=False) == []
