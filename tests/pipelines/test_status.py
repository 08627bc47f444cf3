"""A status never calls done what is not."""

import json
import os
import socket
import time

import pytest

from mvcap import files
from mvcap.commits import CAPTION, RENDER
from mvcap.errors import StorageUnreachableError
from mvcap.locks import dataset_lock
from mvcap.storage import Store
from pipelines import status_report
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.status import dataset_status
from pipelines.status_report import describe, watch
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c")


def run(config, out, **request):
    return build(config, Request(out, **request), LocalRunner(drop_views=False), lambda _: None)


@pytest.fixture
def rendered(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    return config, out, run(config, out, caption=False)


def test_null_captions_are_not_counted_as_captioned(rendered):
    config, out, outcome = rendered
    assert (outcome.views, outcome.uncaptioned) == (9, 9)
    state = dataset_status(out)
    assert (state["complete"], state["uncaptioned_views"]) == (False, 9)
    assert (state["stages"]["caption"]["shards_done"], state["stages"]["caption"]["views"]) == (0, 0)
    assert f"9 views; `mvcap caption {out}` writes them" in describe(state)
    assert "complete" not in describe(state)
    assert "The views have no captions yet" in (out / "README.md").read_text()
    run(config, out, render=False, part=(0, 2))
    assert dataset_status(out)["stages"]["caption"]["shards_done"] == 1
    run(config, out, render=False)
    assert (dataset_status(out)["complete"], dataset_status(out)["uncaptioned_views"]) == (True, 0)


def test_a_half_finished_recaption_is_not_complete(rendered, models, fake_config):
    config, out, _ = rendered
    run(config, out, render=False)
    card = (out / "README.md").read_bytes()
    other = fake_config(models(*NAMES), captions__prompt="'A picture that is a {category}.'")
    assert not run(other, out, render=False, recaption=True, part=(0, 2)).complete
    assert not dataset_status(out)["complete"]
    assert (out / "README.md").read_bytes() == card
    assert run(other, out, render=False, recaption=True, part=(1, 2)).complete
    assert dataset_status(out)["complete"]
    assert "A picture that is a {category}." in (out / "README.md").read_text()


def test_failures_are_counted_by_stage_and_reason(models, fake_config, tmp_path):
    config = fake_config(
        models(*NAMES, "lamps/d", "tables/e"),
        render__options__fail="{cups: crash, lamps: timeout}",
        captions__options__empty_for="[chairs]",
    )
    out = tmp_path / "out"
    run(config, out)
    state = dataset_status(out)
    render, caption = state["stages"][RENDER], state["stages"][CAPTION]
    assert (render["reasons"], render["objects_failed"]) == ({"crash": 1, "timeout": 1}, 2)
    assert (caption["reasons"], caption["views_failed"]) == ({"empty_caption": 6}, 6)
    assert "failed: 2 objects: 1 x crash, 1 x timeout" in describe(state)
    assert "failed: 6 views: 6 x empty_caption" in describe(state)
    assert f"failures.parquet tells more; `mvcap retry {out} --failed` tries again" in describe(state)


def test_the_slowest_objects_come_first_and_failed_ones_count(models, fake_config, tmp_path):
    """Three pictures of 50 ms each; an object that fails before the first one takes no time."""
    config = fake_config(
        models(*NAMES), render__options__view_seconds=0.05, render__options__fail="{cups: crash}"
    )
    run(config, tmp_path / "out")
    slowest = dataset_status(tmp_path / "out")["stages"][RENDER]["slowest"]
    assert list(slowest.values()) == sorted(slowest.values(), reverse=True)
    assert len(slowest) == 3
    *chairs, cup = slowest
    assert all("chairs" in uid for uid in chairs)
    assert "cups" in cup
    assert all(0.15 <= slowest[uid] < 5 for uid in chairs)
    assert slowest[cup] < 0.15


def test_who_is_at_work_what_is_being_written_and_how_long_it_will_take(rendered):
    config, out, _ = rendered
    store = Store(out)
    plan = store.require_plan()
    run(config, out, render=False, part=(0, 2))
    record = store.commit_path(CAPTION, 0)
    commit = json.loads(record.read_bytes())
    with dataset_lock(store.internal, (1, 2)) as held, store.stage_file(CAPTION, plan.shards[1]) as path:
        held.announce()
        path.write_bytes(b"half a shard")
        files.write_json(record, commit | {"committed_at": time.time() + 0.01})
        time.sleep(0.1)
        state = dataset_status(out)
    (driver,) = state["at_work"]
    assert (driver["pid"], driver["host"], driver["slice"]) == (os.getpid(), socket.gethostname(), "1/2")
    caption = state["stages"][CAPTION]
    assert (caption["shards_done"], caption["shards_running"], caption["shards_waiting"]) == (1, 1, 0)
    done, left = commit["rows"], 9 - commit["rows"]
    assert caption["views_left"] == left
    assert caption["seconds_left"] == pytest.approx(left / caption["views_per_second"], abs=0.06)
    assert 0 < caption["views_per_second"] <= done / 0.1
    assert f"at work: process {os.getpid()}" in describe(state)
    assert "1 of 2 shards, 1 running" in describe(state)
    assert dataset_status(out)["at_work"] == []
    assert "nobody is at work" in describe(dataset_status(out))


def test_what_a_killed_run_left_behind_is_not_running(rendered):
    _, out, _ = rendered
    store = Store(out)
    (store.attempts).mkdir(exist_ok=True)
    (store.attempts / f"{files.TEMPORARY}0123456789ab-00001.parquet").write_bytes(b"")
    (store.internal / "lock").write_text(
        json.dumps({"host": socket.gethostname(), "pid": 2**22 + 1, "since": 0})
    )
    state = dataset_status(out)
    assert state["at_work"] == []
    assert state["stages"][RENDER]["shards_running"] == 0


def test_views_to_come_are_guessed_from_those_that_came(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES, "cups/d", "cups/e")), tmp_path / "out"
    run(config, out, caption=False, part=(0, 3))
    render = dataset_status(out)["stages"][RENDER]
    assert (render["shards_done"], render["views"], render["views_left"]) == (1, 6, 9)


def test_records_of_older_versions_have_no_times_and_are_read(rendered):
    _, out, _ = rendered
    store = Store(out)
    for index in range(2):
        record = json.loads(store.commit_path(RENDER, index).read_bytes())
        del record["object_seconds"], record["committed_at"]
        files.write_json(store.commit_path(RENDER, index), record | {"of_a_later_version": 1})
    render = dataset_status(out)["stages"][RENDER]
    assert (render["shards_done"], render["slowest"]) == (2, {})


def test_an_unfinished_dataset_is_tried_again_once_it_is_done(models, fake_config, tmp_path):
    out = tmp_path / "my data"
    run(fake_config(models(*NAMES), render__options__fail="{chairs: crash, cups: crash}"), out, part=(0, 2))
    told = describe(dataset_status(out))
    assert f"once all is done, failures.parquet tells more, and `mvcap retry '{out}' --failed`" in told


def test_no_second_try_is_offered_of_what_no_source_could_list(models, fake_config, tmp_path):
    folder = models(*NAMES)
    (folder / "labels.csv").write_text("path,category\nchairs/a.obj,chair\nlost.obj,chair\n")
    run(fake_config(folder), tmp_path / "out")
    told = describe(dataset_status(tmp_path / "out"))
    assert "1 object could not be listed: bad_asset; the next build looks again" in told
    assert "mvcap retry" not in told


def test_watching_outlasts_a_storage_that_does_not_answer_for_a_while(rendered, monkeypatch):
    config, out, _ = rendered
    unfinished = dataset_status(out)
    run(config, out, render=False)
    answers = [unfinished, StorageUnreachableError("busy"), dataset_status(out)]
    shown, said = [], []

    def answer(_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(status_report, "dataset_status", answer)
    watch(out, shown.append, said.append, every_s=0)
    assert ([state["complete"] for state in shown], said) == ([False, True], ["busy"])
    answers.append(StorageUnreachableError("wrong address"))
    with pytest.raises(StorageUnreachableError, match="wrong address"):
        watch(out, shown.append, said.append, every_s=0)
