"""The workers' logs: complete lines for all that happens, bounded, and without secrets."""

import json
import logging
from pathlib import Path

import pytest

from pipelines import worker_log
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request
from pipelines.worker_log import WorkerLog, forget_old_logs, log_folder

KEYS = {"time", "level", "event", "stage", "shard", "uid", "seconds", "worker", "node"}
SECRET = "hunter2-hunter2-hunter2"


def lines(folder: Path) -> list[dict]:
    return [
        json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()
    ]


def run(config, out: Path) -> None:
    build(config, Request(out), LocalRunner(), lambda _: None)


def test_every_worker_tells_of_every_shard_and_object(models, fake_config, tmp_path):
    folder, out = models("a/one", "a/two", "b/three"), tmp_path / "out"
    run(fake_config(folder, render__options__fail={"three": "crash"}, run__render_workers=2), out)
    logged = lines(log_folder(out))
    assert all(line.keys() >= KEYS for line in logged)
    rendered = [line for line in logged if line["stage"] == "render"]
    assert len({line["worker"] for line in rendered}) == len(list(log_folder(out).glob("*-render-*"))) == 2

    done = {line["uid"]: line for line in rendered if line["event"] == "object_done"}
    assert {uid.rpartition("-")[0]: line["views"] for uid, line in done.items()} == {
        "folder-a-one-obj": 3,
        "folder-a-two-obj": 3,
        "folder-b-three-obj": 0,
    }
    (failure,) = [line for line in rendered if line["event"] == "rejected"]
    assert (failure["level"], failure["reason"], failure["uid"]) == (
        "warning",
        "crash",
        max(done, key=lambda uid: "three" in uid),
    )
    assert failure["shard"] == done[failure["uid"]]["shard"]
    for stage in ("render", "caption"):
        events = [(line["event"], line["shard"]) for line in logged if line["stage"] == stage]
        assert {shard for event, shard in events if event == "shard_committed"} == {0, 1}
        assert {shard for event, shard in events if event == "shard_started"} == {0, 1}
    committed = [line for line in rendered if line["event"] == "shard_committed"]
    assert sum(line["rows"] for line in committed) == 6
    assert all(line["seconds"] > 0 for line in committed)


def test_an_error_of_a_worker_stands_in_its_log_and_still_ends_the_run(
    models, fake_config, tmp_path, monkeypatch
):
    def fail(*_):
        raise RuntimeError("the device fell off")

    monkeypatch.setattr("captions.backends.fake.FakeCaptioner.caption", fail)
    with pytest.raises(RuntimeError, match="fell off"):
        run(fake_config(models("a")), tmp_path / "out")
    failed = [line for line in lines(log_folder(tmp_path / "out")) if line["event"] == "shard_failed"]
    assert [(line["level"], line["stage"], line["shard"], line["error"]) for line in failed] == [
        ("error", "caption", 0, "RuntimeError")
    ]


def test_no_log_is_kept_where_none_is_wanted_and_no_data_depends_on_it(models, fake_config, tmp_path):
    folder = models("a", "b", "c")
    run(fake_config(folder), tmp_path / "with")
    run(fake_config(folder, run__logs="false"), tmp_path / "without")
    assert not log_folder(tmp_path / "without").exists()
    data = [
        sorted(path.read_bytes() for path in (tmp_path / out / "data").iterdir())
        for out in ("with", "without")
    ]
    assert data[0] == data[1]


def test_a_secret_from_environment_url_or_options_stands_nowhere_in_the_dataset(
    models, fake_config, tmp_path, monkeypatch
):
    monkeypatch.setenv("SOME_SERVICE_TOKEN", SECRET)
    monkeypatch.setattr("render.backends.fake.RenderFailed", _leaking_failure())
    config = fake_config(models("good", "leaky"), render__options__fail={"leaky": "error"})
    folder = f"https://user:{SECRET}@host.example/models"
    secret_option = config.model_copy(update={"name": f"built from {folder} with {SECRET}"})
    run(secret_option, tmp_path / "out")
    everything = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path for path in everything if SECRET.encode() in path.read_bytes()] == []
    failures = [line for line in lines(log_folder(tmp_path / "out")) if line["event"] == "rejected"]
    assert "GET https://***@host/b?token=*** failed" in failures[0]["message"]
    assert (
        b"built from https://***@host.example/models with ***"
        in (tmp_path / "out/_mvcap/config.yaml").read_bytes()
    )


def _leaking_failure():
    from render.job import RenderFailed

    def leaking(reason, message):
        return RenderFailed(
            reason, f"GET https://me:{SECRET}@host/b?token={SECRET} failed", log_tail=f"token: {SECRET}"
        )

    return type(
        "Leaking", (RenderFailed,), {"__new__": lambda cls, reason, message: leaking(reason, message)}
    )


def test_a_full_file_makes_room_and_a_long_value_is_cut(tmp_path):
    log = WorkerLog(tmp_path, "render", limit_bytes=4096)
    for number in range(100):
        log.write("message", message="x" * 10_000 if number == 99 else "short", number=number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [log.path.name, f"{log.path.name}.1"]
    assert all(path.stat().st_size <= 4096 for path in tmp_path.iterdir())
    last = json.loads(log.path.read_text().splitlines()[-1])
    assert last["number"] == 99
    assert len(last["message"]) < 2_100


def test_only_the_newest_files_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(worker_log, "KEPT_FILES", 3)
    for day in range(1, 8):
        (tmp_path / f"2026110{day}T000000-node-render-1-0.jsonl").touch()
    forget_old_logs(tmp_path)
    assert sorted(path.name[:8] for path in tmp_path.iterdir()) == ["20261105", "20261106", "20261107"]


def test_a_full_disk_silences_a_log_up_to_its_end(tiny_disk):
    log = WorkerLog(tiny_disk / "logs", "render")
    with pytest.raises(OSError, match="No space left"):
        (tiny_disk / "all").write_bytes(b"x" * 2**17)
    with log.open():
        log.write("message")
        log.write("message")
    assert log.path.read_bytes() == b""


def test_a_disk_that_takes_no_log_ends_nothing(models, fake_config, tmp_path):
    (tmp_path / "out/_mvcap").mkdir(parents=True)
    (tmp_path / "out/_mvcap/logs").write_text("a file where the folder should be")
    run(fake_config(models("a")), tmp_path / "out")
    assert len(list((tmp_path / "out/data").iterdir())) == 1


def test_what_a_room_warns_of_is_logged_and_still_shown(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log = WorkerLog(tmp_path, "render")
    with log.open():
        logging.getLogger("render.backends.blender").warning("textures missing", extra={"uid": "chair"})
    (line,) = lines(tmp_path)
    assert (line["event"], line["level"], line["uid"], line["message"]) == (
        "message",
        "warning",
        "chair",
        "textures missing",
    )
    assert "textures missing" in capsys.readouterr().err
    assert logging.getLogger("render").handlers == []


def test_logs_of_a_bucket_lie_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path))
    here, there = log_folder("s3://bucket/my data"), log_folder("s3://bucket/my-data")
    assert here.parent == there.parent == tmp_path / "logs"
    assert here != there
