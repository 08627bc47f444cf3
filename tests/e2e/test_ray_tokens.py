"""A cluster that asks for a token: a driver without one is told so, one with it works, near or far."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RAY = Path(sys.executable).with_name("ray")
PORT, CLIENT_PORT = 6413, 9913  # workers have those from 10002 on
TOKEN = "c" * 64
READY_S = 120
TINY = (
    *("--set", "render.backend=fake", "--set", "render.views=2", "--set", "render.resolution=32"),
    *("--set", "captions.backend=fake", "--set", "plan.objects_per_shard=1"),
)


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A head that asks for a token, with a port for drivers outside; gives its host."""
    command = [RAY, "start", "--head", "--num-cpus=2", "--object-store-memory=100000000", "--block"]
    command += ["--node-ip-address=127.0.0.1"]  # where it listens
    ports = [f"--port={PORT}", f"--ray-client-server-port={CLIENT_PORT}", "--include-dashboard=false"]
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [*command, *ports],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for port in (PORT, CLIENT_PORT):
            wait_for(port)
        yield "127.0.0.1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens at port {port}"
            time.sleep(0.2)


@pytest.fixture
def without_token(tmp_path, monkeypatch) -> None:
    """A user who has never seen the cluster's token; Ray keeps one in the home directory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("without_token")
def test_a_driver_without_a_token_is_told_which_and_where_from(head, mvcap, models, tmp_path):
    address = f"{head}:{PORT}"
    done = mvcap("build-all", "--models", models("a"), "--out", tmp_path / "out", "--address", address, *TINY)
    assert done.returncode == 2, done.stderr
    assert f"the Ray cluster at {address} asks for a token; set RAY_AUTH_TOKEN" in done.stderr
    assert "~/.ray/auth_token from the machine that started it" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("without_token")
@pytest.mark.parametrize("address", [f"127.0.0.1:{PORT}", f"ray://127.0.0.1:{CLIENT_PORT}"])
def test_a_driver_with_the_token_works_inside_and_outside(head, mvcap, models, tmp_path, address):
    folder = models("things/a", "things/b")
    arguments = ("build-all", "--models", folder, "--out", tmp_path / "out", "--address", address, *TINY)
    done = mvcap(*arguments, RAY_AUTH_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert sum(pq.read_table(path).num_rows for path in (tmp_path / "out/data").glob("*.parquet")) == 4


@pytest.mark.usefixtures("without_token")
def test_a_driver_with_another_token_ends_soon_with_what_to_look_at(head, mvcap, models, tmp_path):
    address = f"{head}:{PORT}"
    arguments = ("build-all", "--models", models("a"), "--out", tmp_path / "out", "--address", address, *TINY)
    done = mvcap(*arguments, RAY_AUTH_TOKEN="d" * 64)
    assert done.returncode in (1, 2), done.stderr
    assert "RAY_AUTH_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr
