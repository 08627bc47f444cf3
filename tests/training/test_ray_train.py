"""`mvcap train --workers`: processes of Ray Train, which outlive one of them and tell errors as they are."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from mvcap.cli import app
from mvcap.errors import InfrastructureError, UsageError
from training.recipes import read_config

MVCAP = Path(sys.executable).with_name("mvcap")
pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def arguments(small_dataset, small_open_clip):
    settings = {
        **{"model.options.model": small_open_clip, "data.batch": 8, "anchors.source": "batch"},
        **{"optimiser.steps": 12, "optimiser.learning_rate": 0.001, "optimiser.warmup_steps": 0},
        **{"run.checkpoint_every": 2, "run.log_every": 1, "run.loaders": 0, "run.tensorboard": "false"},
    }
    assignments = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    return lambda out: ["train", "--data", str(small_dataset), "--out", str(out), *assignments]


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def workers_of(driver):
    """Return the living workers of the Ray that a driver has started."""
    return [
        child
        for child in psutil.Process(driver.pid).children(recursive=True)
        if child.name().startswith("ray::RayTrainWor")
    ]


def test_a_worker_that_is_killed_is_replaced_and_the_run_ends_as_one_process_would(arguments, tmp_path):
    app(arguments(tmp_path / "alone"), standalone_mode=False)
    together = tmp_path / "together"
    driver = subprocess.Popen(
        [str(MVCAP), *arguments(together), "--workers", "2"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed = threading.Event()

    def kill_one():
        while driver.poll() is None and not list(together.glob("checkpoints/step-*")):
            time.sleep(0.01)
        for worker in workers_of(driver)[-1:]:
            worker.send_signal(signal.SIGKILL)
            killed.set()

    threading.Thread(target=kill_one, daemon=True).start()
    out, err = driver.communicate(timeout=280)
    assert driver.returncode == 0, err
    assert killed.is_set()
    assert "2 workers, each with {'CPU': 1}" in err
    assert "going on from step" in err
    assert out.count("12 steps, loss") == 1
    assert "RayTrainWorker" not in out + err, "Ray does not speak"
    assert losses(together) == pytest.approx(losses(tmp_path / "alone"), abs=1e-3)
    one, other = (
        load_file(tmp_path / name / "checkpoints" / "step-00000012" / "model.safetensors")
        for name in ("alone", "together")
    )
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 2e-3
    assert not list((together / "ray-train").glob("*.*"))


def test_what_a_worker_refuses_is_told_as_it_is_and_not_tried_again(small_dataset, tmp_path):
    from pipelines.runners import ray_training

    outcome = tmp_path / "outcome.json"
    settings = {
        "recipe": read_config("demo", ["data.batch=5000"]).model_dump(mode="json"),
        **{"dataset": str(small_dataset), "run": str(tmp_path / "run")},
        **{"outcome": str(outcome), "said": str(tmp_path / "said.log")},
    }
    with pytest.raises(UsageError, match=r"data\.batch=5000"):
        ray_training._work(settings)
    ray_training._work(settings | {"dataset": "nowhere"})  # the next attempt does nothing
    with pytest.raises(UsageError, match=r"^there are 40 views to train on, fewer than data\.batch=5000"):
        ray_training._read(outcome)


def test_what_another_attempt_may_mend_is_tried_again(tmp_path, monkeypatch):
    from pipelines.runners import ray_training

    def lose_a_loader(*anything, **more):
        raise InfrastructureError("a process that reads pictures is gone")

    monkeypatch.setattr("training.runs.run_training", lose_a_loader)
    outcome = tmp_path / "outcome.json"
    settings = {"recipe": read_config("demo").model_dump(mode="json"), "dataset": "d", "run": "r"}
    with pytest.raises(InfrastructureError):
        ray_training._work({**settings, "outcome": str(outcome), "said": str(tmp_path / "said.log")})
    assert not outcome.exists()


def test_a_run_that_is_there_is_not_gone_on_with_against_the_users_will(arguments, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a run already"):
        app([*arguments(tmp_path), "--workers", "2", "--resume", "never"], standalone_mode=False)
