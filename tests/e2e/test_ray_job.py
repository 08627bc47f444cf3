"""A job of a cluster that stands: the script that submits one, and the command of the Kubernetes job."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "pipelines/deploy"
BIN = Path(sys.executable).parent
PORT, DASHBOARD = 6412, 8266
TOKEN = "b" * 64
READY_S = 180
"""Three processes of the head import Ray's dashboard, one after the other, before it takes a job."""
CLIENT = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_TOKEN": TOKEN,
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
}
NODE = {**CLIENT, "RAY_AUTH_MODE": "token"}
TINY = (
    *("--set", "render.backend=fake", "--set", "render.views=2", "--set", "render.resolution=32"),
    *("--set", "captions.backend=fake", "--set", "plan.objects_per_shard=1"),
)

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    """A head with its dashboard, as an administrator starts it; gives the dashboard's address."""
    command = [BIN / "ray", "start", "--head", "--num-cpus=2", "--object-store-memory=100000000", "--block"]
    options = ["--include-dashboard=true", f"--dashboard-port={DASHBOARD}"]
    # The default port of its agent, 52365, is one that any client may have been lent. Where it is taken, the
    # agent goes on without its server (Ray 2.60, `DashboardAgent.run`), and no job can ever be submitted.
    ports = [f"--port={PORT}", "--dashboard-agent-listen-port=0"]
    head = subprocess.Popen([*command, *options, *ports], env=NODE, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{DASHBOARD}"
    try:
        wait_for_jobs(address)
        yield address
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(timeout=30)


def wait_for_jobs(address: str) -> None:
    """Submit a job that does nothing until one is taken.

    Submitting is what needs the agent of the head (Ray 2.60, `JobHead.submit_job`): before it has registered,
    the dashboard answers everything else, and refuses a job with 500 after waiting for ten seconds.
    """
    request = urllib.request.Request(
        f"{address}/api/jobs/",
        data=json.dumps({"entrypoint": "true"}).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    deadline = time.monotonic() + READY_S
    while True:
        try:
            urllib.request.urlopen(request, timeout=60).close()
            return
        except urllib.error.HTTPError as refused:
            said = refused.read().decode()
        except OSError as error:  # nobody listens yet
            said = str(error)
        assert time.monotonic() < deadline, f"the dashboard takes no job: {said}"
        time.sleep(0.5)


def submit(*command: object, env: dict[str, str] = CLIENT) -> subprocess.CompletedProcess:
    return subprocess.run(
        list(map(str, command)), env=env, capture_output=True, text=True, timeout=240, check=False
    )


def rows(out: Path) -> list[dict]:
    return [row for path in (out / "data").glob("*.parquet") for row in pq.read_table(path).to_pylist()]


def test_the_script_builds_a_dataset_as_a_job_and_shows_its_log(dashboard, models, tmp_path):
    folder = models("things/one thing", "things/$two")  # names that a shell would take apart
    out = tmp_path / "out of $it"
    script = DEPLOY / "submit_job.sh"
    done = submit(script, dashboard, "--models", folder, "--out", out, *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 views of 2 of 2 objects" in done.stdout
    assert len(rows(out)) == 4


def test_the_command_of_the_kubernetes_job_ends_well_although_an_object_fails(dashboard, models, tmp_path):
    folder = models("things/good", "things/bad")
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    settings = {
        "sources": [{"source": "folder", "options": {"path": str(folder)}}],
        "plan": {"objects_per_shard": 1},
        "render": {"backend": "fake", "views": 2, "resolution": 32, "options": {"fail": {"bad": "crash"}}},
        "captions": {"backend": "fake"},
    }
    recipe.write_text(yaml.safe_dump(settings))
    entrypoint = yaml.safe_load((DEPLOY / "rayjob.yaml").read_text())["spec"]["entrypoint"]
    entrypoint = entrypoint.replace("/data/recipe.yaml", str(recipe)).replace("/data/dataset", str(out))
    # KubeRay puts the command into a shell's line as it is.
    done = submit(
        "bash", "-c", f"ray job submit --address {shlex.quote(dashboard)} -- {entrypoint} ;", env=NODE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 views of 1 of 2 objects" in done.stdout
    assert re.search(r"failed: .*bad.*: crash", done.stdout)
    assert len(rows(out)) == 2
