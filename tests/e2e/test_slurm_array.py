"""The array script, its tasks run side by side as SLURM would run them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

SCRIPT = Path(__file__).parents[2] / "pipelines/deploy/slurm_caption.sh"
TINY = (
    *("--set", "render.backend=fake", "--set", "render.views=2", "--set", "render.resolution=32"),
    *("--set", "plan.objects_per_shard=1"),
)
FAKE_CAPTIONS = ("--set", "captions.backend=fake")

pytestmark = pytest.mark.slow


def sbatch_options() -> dict[str, str]:
    """What the script asks of SLURM."""
    return dict(re.findall(r"(?m)^#SBATCH --([a-z-]+)=(\S+)$", SCRIPT.read_text()))


def sbatch(folder: Path, array: str, *arguments: object) -> dict[int, subprocess.Popen]:
    """Start a process for each task of an array, as `sbatch --array=...` does on nodes of its own."""
    first, last = (int(number) for number in array.split("-"))
    tasks = range(first, last + 1)
    numbers = {"ARRAY_TASK_COUNT": len(tasks), "ARRAY_TASK_MIN": first, "ARRAY_TASK_MAX": last}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        task: subprocess.Popen(
            ["bash", SCRIPT, *map(str, arguments)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                "PATH": path,
                "SLURM_ARRAY_TASK_ID": str(task),
                **{f"SLURM_{name}": str(number) for name, number in numbers.items()},
            },
        )
        for task in tasks
    }


def ended(tasks: dict[int, subprocess.Popen]) -> dict[int, tuple[int, str]]:
    said = {task: process.communicate(timeout=240)[0] for task, process in tasks.items()}
    return {task: (process.returncode, said[task]) for task, process in tasks.items()}


def captions(dataset: Path) -> list[str | None]:
    return [
        row["caption"] for path in (dataset / "data").glob("*") for row in pq.read_table(path).to_pylist()
    ]


def test_tasks_of_the_array_caption_the_whole_dataset_together(mvcap, models, tmp_path):
    dataset = tmp_path / "dataset"
    folder = models(*(f"things/{index}" for index in range(6)))
    rendered = mvcap("render", "--models", folder, "--out", dataset, "--runner", "local", *TINY)
    assert rendered.returncode == 0, rendered.stderr

    assert sbatch_options()["array"] == "0-7"  # more tasks than shards do no harm
    results = ended(sbatch(tmp_path, "0-7", dataset, *FAKE_CAPTIONS))
    assert {code for code, _ in results.values()} == {0}, results
    assert all(f"slice {task}/8" in said for task, (_, said) in results.items())
    found = captions(dataset)
    assert len(found) == 12
    assert all(found)
    assert mvcap("verify", dataset).returncode == 0


def test_a_task_that_slurm_ends_stops_in_order_and_may_be_submitted_again(mvcap, models, tmp_path):
    dataset = tmp_path / "dataset"
    folder = models(*(f"things/{index}" for index in range(12)))
    rendered = mvcap("render", "--models", folder, "--out", dataset, "--runner", "local", *TINY)
    assert rendered.returncode == 0, rendered.stderr
    slowly = (dataset, *FAKE_CAPTIONS, "--set", "captions.options.image_seconds=0.3")

    assert sbatch_options()["signal"] == "B:TERM@60"
    tasks = sbatch(tmp_path, "1-2", *slowly)
    deadline = time.monotonic() + 60
    while not any(captions(dataset)):
        assert all(process.poll() is None for process in tasks.values())
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for process in tasks.values():
        process.send_signal(signal.SIGTERM)  # to the script's process, as SLURM does with `B:`
    assert {code for code, _ in ended(tasks).values()} == {143}
    assert not all(captions(dataset))

    results = ended(sbatch(tmp_path, "1-2", *slowly))
    assert {code for code, _ in results.values()} == {0}, results
    assert len(captions(dataset)) == 24
    assert all(captions(dataset))


def test_the_script_says_how_it_is_used(tmp_path):
    done = subprocess.run(["bash", SCRIPT], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0
    assert "usage: sbatch slurm_caption.sh DATASET" in done.stderr
