"""The command, the real Blender and the real captioner's code, on objects good and bad."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

from mvcap.cli import building
from mvcap.records import Rejected
from pipelines.surveying import Outcome
from pipelines.todo import Request

pytestmark = pytest.mark.blender

QUICK = (
    *("--runner", "local", "--set", "render.views=2", "--set", "render.resolution=48"),
    *("--set", "render.samples=2", "--set", "plan.objects_per_shard=2"),
    *("--set", "captions.options.model=untrained", "--set", "captions.options.max_new_tokens=4"),
)


def content(out: Path) -> list[tuple]:
    """Keys, captions and pictures of every row."""
    tables = (pq.read_table(path) for path in sorted((out / "data").glob("*.parquet")))
    return [
        (row["uid"], row["view_index"], row["caption"], row["image"]["bytes"])
        for table in tables
        for row in table.to_pylist()
    ]


def wait_for(condition, process, limit_s: float = 120) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_bad_objects_are_quarantined_by_name_and_the_good_ones_complete(
    mvcap, models, misbehaving_blender, tmp_path
):
    folder = models("good/one", "good/two", "good/three", "bad/abort-view1", "bad/hang-load")
    (folder / "bad/corrupt.glb").write_bytes(b"glTF\x02\x00\x00\x00\xff\xff\x00\x00 cut off")
    (folder / "bad/empty.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    arguments = (
        *("build-all", "--models", folder, "--out", tmp_path / "out", *QUICK),
        *("--set", f"render.blender={misbehaving_blender}", "--set", "render.options.object_timeout_s=8"),
    )
    assert mvcap(*arguments).returncode == 3
    failures = {
        Path(source_id).stem: row
        for row in pq.read_table(tmp_path / "out/failures.parquet").to_pylist()
        for source_id in [_source_id(tmp_path / "out", row["uid"])]
    }
    assert {name: row["reason"] for name, row in failures.items()} == {
        "abort-view1": "crash",
        "hang-load": "timeout",
        "corrupt": "bad_asset",
        "empty": "empty_render",
    }
    assert (failures["abort-view1"]["signal"], failures["abort-view1"]["attempts"]) == ("SIGABRT", 3)
    assert "about to abort at view1" in failures["abort-view1"]["log_tail"]
    assert "about to hang at load" in failures["hang-load"]["log_tail"]
    assert len(content(tmp_path / "out")) == 3 * 2
    again = mvcap(*arguments)
    assert again.returncode == 3  # they are not tried again, and not forgotten
    assert f"try again  mvcap retry {tmp_path / 'out'} --failed\n" in again.stderr
    assert mvcap("verify", tmp_path / "out").returncode == 0
    status = json.loads(mvcap("status", tmp_path / "out", "--json").stdout)
    assert status["failures"] == {"crash": 1, "timeout": 1, "bad_asset": 1, "empty_render": 1}


def _source_id(out: Path, uid: str) -> str:
    rows = pq.read_table(out / "objects.parquet").to_pylist()
    return next(row["source_id"] for row in rows if row["uid"] == uid)


@pytest.mark.slow
def test_a_killed_driver_goes_on_where_it_was_and_a_second_one_is_refused(
    mvcap, start_mvcap, models, tmp_path
):
    folder = models(*(f"things/{index}" for index in range(16)))
    out, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    assert mvcap("build-all", "--models", folder, "--out", undisturbed, *QUICK).returncode == 0

    driver = start_mvcap("build-all", "--models", folder, "--out", out, *QUICK)
    wait_for(lambda: list(out.glob("_mvcap/commits/render/*.json")), driver)
    driver.send_signal(signal.SIGSTOP)  # so that it is still there when the second one starts
    second = mvcap("build-all", "--models", folder, "--out", out, *QUICK)
    assert (second.returncode, f"process {driver.pid}" in second.stderr) == (2, True)
    driver.send_signal(signal.SIGKILL)
    driver.wait()

    assert mvcap("build-all", "--models", folder, "--out", out, *QUICK).returncode == 0
    assert content(out) == content(undisturbed)
    assert mvcap("verify", out).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_within_ten_seconds(start_mvcap, models, tmp_path, number, code):
    folder = models(*(f"things/{index}" for index in range(40)))
    driver = start_mvcap("build-all", "--models", folder, "--out", tmp_path / "out", *QUICK)
    wait_for(lambda: list(tmp_path.glob("out/_mvcap/commits/render/*.json")), driver)
    sent = time.monotonic()
    driver.send_signal(number)
    assert driver.wait(timeout=30) == code
    assert time.monotonic() - sent < 10
    assert not list((tmp_path / "out/data").glob(".*"))


def test_rendering_then_captioning_by_command(mvcap, models, tmp_path):
    folder, out = models("chairs/a", "chairs/b"), tmp_path / "out"
    flags = ("--views", 2, "--resolution", 48, "--set", "render.samples=2", "--runner", "local")
    assert mvcap("render", "--models", folder, "--out", out, *flags).returncode == 0
    assert {caption for _, _, caption, _ in content(out)} == {None}
    captioning = ("--set", "captions.options.model=untrained", "--runner", "local")
    done = mvcap("caption", out, "--shard", "0/1", *captioning)
    assert done.returncode == 0, done.stderr
    assert "note: The captions come from an untrained model." in done.stderr
    assert all(caption for _, _, caption, _ in content(out))


MVCAP = shlex.quote(str(Path(sys.executable).with_name("mvcap")))
FAKE = "--runner local --set render.backend=fake --set render.views=2 --set captions.backend=fake"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a line in bash, whose exit code is that of the first command of a pipe."""
    return subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
        check=False,
    )


@pytest.mark.parametrize("gone", ["2>&-", "2> >(true)", "2>/dev/full", "1>&- 2>&-"])
def test_a_run_whose_messages_nobody_can_read_succeeds_all_the_same(models, tmp_path, gone):
    models("things/a", "things/b")
    done = shell(f"{MVCAP} build-all --models models --out out {FAKE} {gone}", tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(content(tmp_path / "out")) == 2 * 2


def test_a_reader_of_the_output_may_leave_early(mvcap, models, tmp_path):
    models("things/a")
    assert shell(f"{MVCAP} build-all --models models --out out {FAKE}", tmp_path).returncode == 0
    done = shell(f"{MVCAP} status out --json | head -c 0", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "Error: Python: Traceback (most recent call last):\n  File x, line 1\nValueError: no mesh\n\n",
            "no mesh",
        ),
        ("\nthe file is cut off\nat byte 7", "bad_asset: the file is cut off"),
        ("", "bad_asset: "),
    ],
)
def test_a_failure_is_told_by_the_line_that_says_most(
    models, fake_config, tmp_path, monkeypatch, capsys, message, told
):
    failure = Rejected("chair", stage="render", reason="bad_asset", message=message)
    outcome = Outcome(1, 0, 0, 0, (failure,), captioner_note=None, complete=False)
    monkeypatch.setattr("pipelines.build_all.build", lambda *_: outcome)
    with pytest.raises(typer.Exit):
        building._build(fake_config(models("a")), Request(tmp_path / "out"), "local", None)
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: chair")]
    assert len(failed) == 1
    assert failed[0].endswith(told)


def test_what_is_left_is_told_with_the_command_that_does_it(
    models, fake_config, tmp_path, monkeypatch, capsys
):
    outcome = Outcome(3, 3, 9, 4, (), captioner_note=None, complete=False)
    monkeypatch.setattr("pipelines.build_all.build", lambda *_: outcome)
    with pytest.raises(typer.Exit):
        building._build(fake_config(models("a")), Request(tmp_path / "my out"), "local", None)
    told = capsys.readouterr().err
    assert f"no caption yet: 4 views; `mvcap caption '{tmp_path}/my out'` writes them" in told
    assert f"not finished: shards of other slices are left; `mvcap status '{tmp_path}/my out'`" in told
