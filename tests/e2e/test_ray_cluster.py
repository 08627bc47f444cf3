"""An existing Ray cluster takes the work; an address where there is none is refused at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
