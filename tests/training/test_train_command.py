"""`mvcap train` as people start it: planned, killed in the middle, gone on with, in several processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mvcap.cli import app
from mvcap.errors import ConfigError, OutputError
from training.checkpoints import latest_checkpoint

MVCAP = [str(Path(sys.executable).with_name("mvcap"))]
pytestmark = pytest.mark.slow


@pytest.fixture
def command(small_dataset, small_open_clip):
    def make(out, *more, steps=12):
        settings = {
            "model.options.model": small_open_clip,
            "data.batch": 8,
            "optimiser.steps": steps,
            "optimiser.learning_rate": 0.01,
            "anchors.source": "bank",
            "anchors.every_steps": 3,
            "run.checkpoint_every": 2,
            "run.log_every": 1,
            "run.loaders": 0,
        }
        assignments = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        return ["train", "--data", str(small_dataset), "--out", str(out), *assignments, *more]

    return make


def run(arguments, launcher=MVCAP):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, *arguments], capture_output=True, text=True, check=False, env=environment
    )


def final_weights(run_folder, step=12):
    return load_file(run_folder / "checkpoints" / f"step-{step:08d}" / "model.safetensors")


def test_a_plan_is_printed_as_json_and_nothing_is_written(command, tmp_path):
    done = run(command(tmp_path / "run", "--dry-run", "--json"))
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["trainable_parameters"] > 1000
    assert (plan["steps"], plan["steps_per_epoch"]) == (12, 5)
    assert {"memory_bytes", "time_s", "disk_bytes"} <= set(plan)
    assert not (tmp_path / "run").exists()


def test_mistakes_are_explained(command, tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean 'steps'\?"):
        app(command(tmp_path / "run", "--set", "optimiser.step=3"), standalone_mode=False)
    with pytest.raises(OutputError, match="not a finished dataset"):
        app(
            ["train", "--data", str(tmp_path), "--config", "demo", "--out", str(tmp_path / "run")],
            standalone_mode=False,
        )


def test_killed_in_the_middle_it_ends_with_the_same_weights(command, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = run(command(whole))
    assert done.returncode == 0, done.stderr
    assert "12 steps, loss" in done.stdout
    kills = 0
    while not (killed / "checkpoints" / "step-00000012").exists():
        process = subprocess.Popen(
            [*MVCAP, *command(killed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        logged, before = killed / "log.jsonl", _lines(killed / "log.jsonl")
        while process.poll() is None and (kills == 2 or _lines(logged) in range(before, before + 3)):
            time.sleep(0.02)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills
    expected, found = final_weights(whole), final_weights(killed)
    assert expected.keys() == found.keys()
    assert all((expected[name] == found[name]).all() for name in expected)
    timeless = [
        [{k: v for k, v in json.loads(line).items() if not k.endswith("_s")} for line in text.splitlines()]
        for text in ((folder / "log.jsonl").read_text() for folder in (whole, killed))
    ]
    assert timeless[0] == timeless[1]


def test_asked_to_stop_it_saves_the_step_and_exits_as_the_signal_says(command, tmp_path):
    tuned = tmp_path / "run"
    endless = ["--set", "run.checkpoint_every=100000", "--set", "run.loaders=1"]
    process = subprocess.Popen(
        [*MVCAP, *command(tuned, *endless, steps=100_000)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    while _lines(tuned / "log.jsonl") < 2:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the loaders hear it too
    told = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGINT
    assert "Traceback" not in told
    assert "the same command goes on" in told
    saved = latest_checkpoint(tuned)
    assert saved.step == _lines(tuned / "log.jsonl") >= 2


def _lines(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_torchrun_starts_it_in_two_processes_and_they_train_as_one(command, tmp_path):
    alone = run(command(tmp_path / "alone", steps=3))
    assert alone.returncode == 0, alone.stderr
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python", *MVCAP]
    together = run(command(tmp_path / "together", steps=3), torchrun)
    assert together.returncode == 0, together.stderr
    assert together.stdout.count("3 steps") == 1, "one process speaks"
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("alone", "together")
    ]
    for one, two in zip(*logs, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=2e-4)
    assert logs[1][0]["loss"] == pytest.approx(logs[0][0]["loss"], abs=1e-6)
    assert logs[1][0]["gradient_norm"] == pytest.approx(logs[0][0]["gradient_norm"], rel=1e-5)


def test_its_page_shows_what_was_logged_and_evaluated(command, small_dataset, tmp_path, capsys):
    tuned = tmp_path / "run"
    app(command(tuned, steps=6), standalone_mode=False)
    evaluation = ["--templates", "plain", "--loaders", "0", "--batch", "8"]
    app(["eval", str(tuned), "--data", f"ours={small_dataset}", *evaluation], standalone_mode=False)
    capsys.readouterr()
    app(["report", "--training", str(tuned)], standalone_mode=False)
    told = capsys.readouterr()
    assert told.out == f"{tuned / 'report.html'}\n"
    assert "6 logged steps and the results on 1 set" in told.err
    page = (tuned / "report.html").read_text("utf-8")
    assert "ours, before" in page
    assert "bank_outliers_agree" in page
    assert "Not measured yet" not in page
