"""An existing Ray cluster takes the work; an address where there is none is refused at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

RAY = Path(sys.executable).with_name("ray")
PORT = 6411
TINY = (
    *("--set", "render.backend=fake", "--set", "render.views=2", "--set", "render.resolution=32"),
    *("--set", "captions.backend=fake", "--set", "plan.objects_per_shard=1"),
)


@pytest.fixture
def cluster():
    """A head node started by `ray start`, as an administrator does."""
    quiet = {"env": {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}, "stdout": subprocess.DEVNULL}
    command = [
        RAY,
        "start",
        "--head",
        "--num-cpus=2",
        "--include-dashboard=false",
        f"--port={PORT}",
        "--block",
    ]
    head = subprocess.Popen(command, stderr=subprocess.DEVNULL, **quiet)
    time.sleep(5)
    yield f"127.0.0.1:{PORT}"
    head.terminate()
    head.wait(timeout=30)


@pytest.mark.ray
@pytest.mark.slow
def test_the_work_is_done_on_a_cluster_that_stands(cluster, mvcap, models, tmp_path):
    folder = models(*(f"things/{index}" for index in range(4)))
    done = mvcap("build-all", "--models", folder, "--out", tmp_path / "out", "--address", cluster, *TINY)
    assert done.returncode == 0, done.stderr
    rows = [row for path in (tmp_path / "out/data").glob("*") for row in pq.read_table(path).to_pylist()]
    assert len(rows) == 8


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense", "127.0.0.1:99999"])
def test_an_address_without_a_cluster_is_refused_at_once(mvcap, models, tmp_path, address):
    begun = time.monotonic()
    done = mvcap("build-all", "--models", models("a"), "--out", tmp_path / "out", "--address", address, *TINY)
    assert done.returncode == 2
    assert address in done.stderr
    assert time.monotonic() - begun < 30


@pytest.mark.ray
@pytest.mark.slow
def test_a_driver_of_embedded_ray_may_be_killed_and_the_same_command_goes_on(
    mvcap, start_mvcap, models, tmp_path
):
    folder = models(*(f"things/{index:02d}" for index in range(10)))
    slowly = (*TINY, "--set", "render.options.view_seconds=0.3")
    assert mvcap("build-all", "--models", folder, "--out", tmp_path / "calm", *TINY).returncode == 0

    out = tmp_path / "killed"
    driver = start_mvcap("build-all", "--models", folder, "--out", out, *slowly)
    deadline = time.monotonic() + 120
    while len(list(out.glob("_mvcap/commits/caption/*.json"))) < 2:
        assert driver.poll() is None, driver.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    driver.wait()

    again = mvcap("build-all", "--models", folder, "--out", out, *slowly)
    assert again.returncode == 0, again.stderr
    assert data_of(out) == data_of(tmp_path / "calm")
    assert mvcap("verify", out).returncode == 0


def data_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "data").iterdir()}


def begin(start_mvcap, models, out: Path, *more: object) -> subprocess.Popen:
    """Start a slow run, and return once its first shard is committed."""
    folder = models(*(f"things/{index:02d}" for index in range(40)))
    slowly = (*TINY, "--set", "render.options.view_seconds=0.3", "--set", "run.render_workers=1", *more)
    driver = start_mvcap("build-all", "--models", folder, "--out", out, *slowly)
    deadline = time.monotonic() + 120
    while not list(out.glob("_mvcap/commits/caption/*.json")):
        assert driver.poll() is None, driver.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return driver


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_on_ray_within_ten_seconds(start_mvcap, models, tmp_path, number, code):
    driver = begin(start_mvcap, models, tmp_path / "out")
    sent = time.monotonic()
    driver.send_signal(number)
    said, _ = driver.communicate(timeout=30)
    assert driver.returncode == code, said
    assert time.monotonic() - sent < 10
    assert "stopped; the same command goes on from here" in said
    assert "Traceback" not in said


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("name", ["numpy.py", "render/__init__.py", "mvcap/__init__.py"])
def test_a_file_in_the_working_directory_shadows_no_module_of_a_worker(
    mvcap, models, tmp_path, monkeypatch, name
):
    models("things/a")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("raise RuntimeError('the wrong module')")
    monkeypatch.chdir(tmp_path)
    done = mvcap("build-all", "--models", "models", "--out", "out", *TINY)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out/data").glob("*.parquet"))) == 1


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("victim", ["gcs_server", "raylet"])
def test_a_ray_that_dies_under_a_run_ends_it_with_a_message(start_mvcap, models, tmp_path, victim):
    driver = begin(start_mvcap, models, tmp_path / "out")
    for process in psutil.Process(driver.pid).children(recursive=True):
        if process.name() == victim:
            process.kill()
    said, _ = driver.communicate(timeout=60)
    assert driver.returncode == 1, said
    assert said.splitlines()[-1].startswith("error: ")  # Ray's own report may stand above
    assert "Traceback" not in said


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1"])
def test_auto_refuses_a_cluster_that_is_no_more_at_once(mvcap, models, tmp_path, address):
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text("127.0.0.1:1")
    begun = time.monotonic()
    done = mvcap(
        *("build-all", "--models", models("a"), "--out", tmp_path / "out", "--address", "auto", *TINY),
        **{"RAY_TMPDIR": str(tmp_path)} if address == "auto" else {"RAY_ADDRESS": address},
    )
    assert (done.returncode, "127.0.0.1:1" in done.stderr) == (2, True)
    assert time.monotonic() - begun < 30


def test_auto_without_any_cluster_is_refused(mvcap, models, tmp_path):
    done = mvcap(
        *("build-all", "--models", models("a"), "--out", tmp_path / "out", "--address", "auto", *TINY),
        RAY_TMPDIR=str(tmp_path),
        RAY_ADDRESS="",
    )
    assert (done.returncode, "names no cluster" in done.stderr) == (2, True)
