"""An object that is removed is gone for good: rows, pictures, captions, and no build brings it back."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mvcap import files
from mvcap.cli.app import app
from mvcap.commits import CAPTION, RENDER, STAGES
from mvcap.errors import DatasetLockedError, UsageError
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.control import make_unguided_control
from pipelines.removing import find_doomed, remove_objects
from pipelines.runners.local import LocalRunner
from pipelines.status import dataset_status
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e")
GONE = "cups/c.obj"


def run(config, out, **request):
    return build(
        config, Request(out, **request), LocalRunner(drop_views=not config.run.keep_views), lambda _: None
    )


def remove(config, out, *named, said=None):
    return remove_objects(config, out, named, "licence withdrawn", (said if said is not None else []).append)


def rows(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "data").glob("*.parquet"))]
    return {(row["uid"], row["view_index"]): row for table in tables for row in table}


def objects(out: Path) -> dict[str, dict[str, Any]]:
    return {row["source_id"]: row for row in pq.read_table(out / "objects.parquet").to_pylist()}


def pictures_of(table: dict[tuple[str, int], dict[str, Any]], uid: str) -> list[bytes]:
    return [row["image"]["bytes"] for (each, _), row in table.items() if each == uid]


def holders(out: Path, picture: bytes) -> list[Path]:
    """List every file of a dataset that holds the bytes of a picture."""
    return [path for path in out.rglob("*") if path.is_file() and picture in path.read_bytes()]


@pytest.fixture(params=[False, True], ids=["views dropped", "views kept"])
def built(request, models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES), run__keep_views=request.param), tmp_path / "out"
    run(config, out)
    return config, out


def test_its_rows_and_pictures_are_gone_from_every_file_and_others_keep_their_bytes(built):
    config, out = built
    before, uid = rows(out), objects(out)[GONE]["uid"]
    pictures = pictures_of(before, uid)
    assert all(holders(out, picture) for picture in pictures)
    said: list[str] = []
    outcome = remove(config, out, uid, said=said)
    assert (outcome.objects, outcome.done, outcome.removed, outcome.views) == (4, 4, 1, 12)
    assert rows(out) == {key: row for key, row in before.items() if key[0] != uid}
    assert not any(holders(out, picture) for picture in pictures)
    assert uid not in (out / "report/index.html").read_text()
    assert said == ["removed 1 object with 3 views"]
    assert verify_dataset(out) == []
    assert dataset_status(out)["objects_removed"] == 1


def test_only_its_shard_is_rewritten(built):
    config, out = built
    store = Store(out)
    shards = store.require_plan().shards
    uid = objects(out)[GONE]["uid"]
    others = [shard for shard in shards if uid not in shard.uids]
    paths = [store.target(CAPTION, shard) for shard in others]
    paths += [store.commit_path(stage, shard.index) for shard in others for stage in STAGES]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    remove(config, out, GONE)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths} == before


def test_the_same_build_does_not_bring_it_back_and_writes_nothing(built):
    config, out = built
    remove(config, out, GONE)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    outcome = run(config, out)
    assert (outcome.removed, outcome.views, outcome.failures) == (1, 12, ())
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_what_is_done_anew_comes_without_it(built, models, fake_config):
    """Broken shards, more objects, and other captions: no way leads back."""
    config, out = built
    uid = objects(out)[GONE]["uid"]
    remove(config, out, uid)
    store = Store(out)
    shard = next(shard for shard in store.require_plan().shards if uid in shard.uids)
    path = store.target(CAPTION, shard)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert verify_dataset(out) != []
    more = fake_config(models(*NAMES, "vases/f"), run__keep_views=config.run.keep_views)
    assert run(more, out).views == 15
    other = fake_config(models(), captions__prompt="'A {category}.'", run__keep_views=config.run.keep_views)
    assert run(other, out, recaption=True, render=False).views == 15
    assert uid not in {each for each, _ in rows(out)}
    assert verify_dataset(out) == []


def test_the_table_of_objects_and_the_card_tell_of_it(built):
    config, out = built
    remove(config, out, GONE)
    row = objects(out)[GONE]
    assert (row["status"], row["reason"], row["views"]) == ("removed", "licence withdrawn", 0)
    assert {other["status"] for name, other in objects(out).items() if name != GONE} == {"done"}
    assert "1 object was removed after the build" in (out / "README.md").read_text()
    assert "objects failed" not in (out / "README.md").read_text()


def test_captions_without_guidance_forget_it(built):
    config, out = built
    make_unguided_control(config, out, lambda _: None)
    control = out / "_mvcap/controls/unguided.parquet"
    uid = objects(out)[GONE]["uid"]
    assert uid in pq.read_table(control)["uid"].to_pylist()
    remove(config, out, uid)
    assert uid not in pq.read_table(control)["uid"].to_pylist()
    assert pq.read_table(control).num_rows == 12


def test_what_verify_set_aside_of_its_shard_goes_too(built):
    config, out = built
    store, uid = Store(out), objects(out)[GONE]["uid"]
    picture = pictures_of(rows(out), uid)[0]
    shard = next(shard for shard in store.require_plan().shards if uid in shard.uids)
    path = store.target(CAPTION, shard)
    path.write_bytes(path.read_bytes() + b"?")
    verify_dataset(out)
    run(config, out)
    assert any(path.is_relative_to(store.broken) for path in holders(out, picture))
    remove(config, out, uid)
    assert holders(out, picture) == []


def test_a_removal_that_was_killed_is_told_and_finished_by_the_next_build(built):
    config, out = built
    store, uid = Store(out), objects(out)[GONE]["uid"]
    picture = pictures_of(rows(out), uid)[0]
    files.write_json(store.removals_path, [{"uid": uid, "reason": "killed here", "removed_at": 0}])
    assert any("still holds removed objects" in problem.message for problem in verify_dataset(out))
    outcome = run(config, out)
    assert (outcome.removed, outcome.views) == (1, 12)
    assert holders(out, picture) == []
    assert objects(out)[GONE]["reason"] == "killed here"
    assert verify_dataset(out) == []


def test_what_an_unfinished_dataset_ended_with_before_it_grew_tells_of_it_too(built, models, fake_config):
    config, out = built
    grown = fake_config(models("vases/f", "vases/g", "vases/h"), run__keep_views=config.run.keep_views)
    run(grown, out, part=(0, 2))
    assert objects(out)[GONE]["status"] == "done"
    assert remove(config, out, GONE).complete is False
    assert objects(out)[GONE]["status"] == "removed"
    card = (out / "README.md").read_text()
    assert "1 object was removed after the build" in card
    assert "2 objects to come: the dataset is not finished" in card
    assert "failed; `failures.parquet` says why" not in card
    run(grown, out)
    assert "to come" not in (out / "README.md").read_text()
    assert verify_dataset(out, deep=True) == []


def test_a_failed_object_is_no_failure_once_it_is_removed(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES), render__options__fail="{cups/c: crash}"), tmp_path / "out"
    assert len(run(config, out).failures) == 1
    outcome = remove(config, out, GONE)
    assert (outcome.failures, outcome.objects) == ((), 4)
    assert pq.read_table(out / "failures.parquet").num_rows == 0
    assert objects(out)[GONE]["status"] == "removed"


def test_a_shard_of_which_nothing_is_left_has_no_file(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES), plan__objects_per_shard=1), tmp_path / "out"
    run(config, out)
    assert len(list((out / "data").glob("*"))) == 5
    remove(config, out, GONE, "lamps/e.obj")
    assert len(list((out / "data").glob("*"))) == 3
    assert len(list((out / "report/sheets").glob("*"))) == 3
    assert verify_dataset(out) == []


def test_what_looked_like_it_is_no_duplicate_any_more(models, fake_config, tmp_path):
    first = fake_config(models(*NAMES))
    run(first, tmp_path / "probe")
    uid = objects(tmp_path / "probe")["chairs/a.obj"]["uid"]
    config, out = fake_config(models(), render__options__like=f"{{chairs/b: {uid}}}"), tmp_path / "out"
    run(config, out)
    assert objects(out)["chairs/b.obj"]["duplicate_of"] == uid
    remove(config, out, uid)
    assert objects(out)["chairs/b.obj"]["duplicate_of"] is None
    assert {row["duplicate_of"] for row in rows(out).values()} == {None}


def test_other_objects_with_the_same_model_are_named(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    (folder / "cups/again.obj").write_bytes((folder / "cups/c.obj").read_bytes())
    config = fake_config(folder)
    run(config, out)
    said: list[str] = []
    remove(config, out, GONE, said=said)
    assert objects(out)["cups/again.obj"]["uid"] in said[-1]
    assert "1 other object has the same model file" in said[-1]


def test_unknown_names_and_the_removal_of_everything_are_refused(built):
    config, out = built
    before = (out / "objects.parquet").read_bytes()
    with pytest.raises(UsageError, match="has no object nobody"):
        remove(config, out, GONE, "nobody")
    with pytest.raises(UsageError, match="nothing would be left"):
        remove(config, out, *(row["uid"] for row in objects(out).values()))
    assert (out / "objects.parquet").read_bytes() == before
    assert not Store(out).removals_path.exists()


def test_neither_a_folder_nor_an_empty_name_takes_out_what_lies_below(built, tmp_path, monkeypatch):
    _, out = built
    monkeypatch.chdir(tmp_path / "models/cups")
    (tmp_path / "models/cups/more").mkdir()
    for name in (".", str(tmp_path / "models/cups")):
        done = CliRunner().invoke(app, ["remove", str(out), name])
        assert isinstance(done.exception, UsageError), name
        assert f"has no object {name}" in str(done.exception)
    done = CliRunner().invoke(app, ["remove", str(out), ""])
    assert "name the objects to remove" in str(done.exception)
    assert not Store(out).removals_path.exists()


def test_a_dry_run_counts(built):
    _, out = built
    store = Store(out)
    doomed = find_doomed(store, store.require_plan(), [GONE, str(Path("lamps/e.obj"))])
    assert (len(doomed.uids), doomed.views, doomed.shards) == (2, 6, 2)


def test_a_driver_at_work_keeps_it_out(built):
    config, out = built
    with Store(out).lock(None), pytest.raises(DatasetLockedError):
        remove(config, out, GONE)


def test_views_that_wait_for_captions_lose_it_too(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out, caption=False)
    uid = objects(out)[GONE]["uid"]
    picture = pictures_of(rows(out), uid)[0]
    remove(config, out, uid)
    assert holders(out, picture) == []
    assert run(config, out, render=False).views == 12
    record = json.loads(Store(out).commit_path(RENDER, 1).read_bytes())
    assert uid not in record["views"]
    assert verify_dataset(out) == []
