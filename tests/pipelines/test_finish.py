"""What a build ends with is kept whole: a summary or a sheet that was lost or changed is written again."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mvcap.errors import LockLostError
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.finish import finish
from pipelines.runners.local import LocalRunner
from pipelines.surveying import survey
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c")


def run(config, out, **request):
    return build(config, Request(out, **request), LocalRunner(), lambda _: None)


def contents(out: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def finished(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out)
    return config, out


@pytest.mark.parametrize(
    "name",
    ["README.md", "objects.parquet", "failures.parquet", "report/sheets/*1*.png", "report/samples.png"],
)
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_what_verify_finds_broken_the_next_run_repairs(finished, name: str, damage: str):
    config, out = finished
    (path,) = out.glob(name)
    before = path.read_bytes()
    path.write_bytes(before[:-1] + b"?") if damage == "changed" else path.unlink()
    assert [problem.file for problem in verify_dataset(out)] == [str(path.relative_to(out))]
    run(config, out)
    assert path.read_bytes() == before
    assert verify_dataset(out) == []


@pytest.mark.parametrize(
    "pattern",
    ["objects.parquet", "listing_failures.json", "config.yaml", "settings/render*", "settings/caption*"],
)
def test_a_lost_record_of_a_finished_dataset_is_written_again(finished, pattern: str):
    config, out = finished
    (path,) = (out / "_mvcap").glob(pattern)
    before = path.read_bytes()
    path.unlink()
    run(config, out)
    assert path.read_bytes() == before
    assert verify_dataset(out) == []


@pytest.mark.parametrize("complete", [True, False])
def test_what_a_killed_run_left_beside_sheets_and_summaries_goes(finished, complete: bool):
    config, out = finished
    leftovers = [out / "report/sheets/.attempt-0123456789ab-a.png", out / ".attempt-0123456789ab-README.md"]
    for path in leftovers:
        path.write_bytes(b"half")
    if not complete:
        next((out / "_mvcap/commits/caption").glob("*.json")).unlink()
    run(config, out)
    assert not any(path.exists() for path in leftovers)
    assert verify_dataset(out) == []


def test_an_intact_dataset_is_left_byte_for_byte(finished):
    config, out = finished
    before = contents(out)
    run(config, out)
    run(config, out, render=False)
    assert contents(out) == before


def test_a_sheet_that_a_recaption_drew_is_no_damage(finished, models, fake_config):
    _, out = finished
    other = fake_config(models(*NAMES), captions__prompt="'A picture that is a {category}.'")
    run(other, out, render=False, recaption=True, part=(0, 2))
    assert [problem.file for problem in verify_dataset(out)] == ["data"]  # two settings, and nothing else


def test_the_object_table_tells_what_was_rendered(finished, models):
    _, out = finished
    rows = pq.read_table(out / "objects.parquet").to_pylist()
    expected = {hashlib.sha256((models() / f"{name}.obj").read_bytes()).hexdigest() for name in NAMES}
    assert {row["asset_sha256"] for row in rows} == expected
    assert {row["triangles"] for row in rows} == {None}  # the fake renderer opens no file


def test_commits_of_before_assets_were_noted_still_make_an_object_table(finished):
    config, out = finished
    for path in (out / "_mvcap" / "commits" / "render").glob("*.json"):
        old = json.loads(path.read_text())
        del old["assets"]
        path.write_text(json.dumps(old | {"schema_version": 2}))
    (out / "objects.parquet").unlink()
    run(config, out)
    rows = pq.read_table(out / "objects.parquet").to_pylist()
    assert [(row["views"], row["asset_sha256"]) for row in rows] == [(3, None)] * len(NAMES)


def test_who_lost_the_dataset_meanwhile_writes_no_summary_over_those_of_its_successor(finished):
    config, out = finished
    asked: list[bool] = []

    def guard() -> None:
        asked.append(True)
        if len(asked) > 1:
            raise LockLostError("taken over")

    store = Store(out, guard)
    (out / "README.md").write_text("of the successor")
    before = contents(out / "_mvcap"), (out / "objects.parquet").stat().st_mtime_ns
    with pytest.raises(LockLostError):
        finish(store, store.require_plan(), survey(store, store.require_plan()), config)
    assert (contents(out / "_mvcap"), (out / "objects.parquet").stat().st_mtime_ns) == before
    assert (out / "README.md").read_text() == "of the successor"


def test_data_that_a_later_commit_without_any_had_no_time_to_remove_goes(models, fake_config, tmp_path):
    silent = fake_config(models(*NAMES), captions__options__empty_for="[cups]", plan__objects_per_shard=1)
    out = tmp_path / "out"
    run(silent, out)
    (stale,) = {f"train-{index:05d}-of-00003.parquet" for index in range(3)} - {
        path.name for path in (out / "data").iterdir()
    }
    (whole, *_) = (out / "data").iterdir()
    (out / "data" / stale).write_bytes(whole.read_bytes())
    run(silent, out)
    assert not (out / "data" / stale).exists()
    assert verify_dataset(out) == []
