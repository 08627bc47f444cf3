"""Disks that are full, and disks that may not be written: real file systems, mounted by the tests."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

NAMES = tuple(f"things/{index}" for index in range(12))
FAST = (
    *("--runner", "local", "--set", "render.backend=fake", "--set", "captions.backend=fake"),
    *("--set", "captions.synonyms=table", "--set", "render.views=8", "--set", "render.resolution=64"),
    *("--set", "plan.objects_per_shard=2", "--set", "run.logs=false"),
)

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount, or mount again, a file system with the given options; where the tests may."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def make(options: str) -> Path:
        nonlocal mounted
        more = "remount," if mounted else ""
        command = ["mount", "-t", "tmpfs", "-o", more + options, "none", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a file system: {done.stderr.strip()}")
        mounted = True
        return folder

    yield make
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def rows(out: Path) -> list[tuple[str, int, bytes]]:
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "data").glob("*.parquet"))]
    return [(row["uid"], row["view_index"], row["image"]["bytes"]) for table in tables for row in table]


def test_a_full_disk_ends_the_run_with_the_bytes_needed_and_more_room_lets_it_go_on(
    mvcap, models, mount: Mount, tmp_path: Path
):
    build = ("build-all", "--models", models(*NAMES))
    assert mvcap(*build, "--out", tmp_path / "roomy", *FAST).returncode == 0
    out = mount("size=640k") / "out"
    done = mvcap(*build, "--out", out, *FAST)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr[done.stderr.index("error:") :]
    assert "no space left to write" in message
    assert "free some and run again" in message
    assert "shards are still to come, which need about 0." in message
    committed = list(out.glob("_mvcap/commits/caption/*.json"))
    assert 0 < len(committed) < 6
    assert not list(out.rglob(".attempt-*"))
    assert set(rows(out)) < set(rows(tmp_path / "roomy"))

    mount("size=20m")
    assert mvcap(*build, "--out", out, *FAST).returncode == 0
    assert rows(out) == rows(tmp_path / "roomy")
    assert mvcap("verify", out).returncode == 0


def test_what_will_not_fit_is_told_before_the_start(mvcap, models, mount: Mount):
    out = mount("size=2m") / "out"
    build = ("build-all", "--models", models(*NAMES[:2]), "--out", out, *FAST)
    assert mvcap(*build).returncode == 0
    more = mvcap(
        "build-all", "--models", models(*NAMES, *(f"more/{index}" for index in range(300))), *build[3:]
    )
    assert "shards to come will need about" in more.stderr
    assert "MB are free at" in more.stderr
    assert more.returncode == 1


def test_a_disk_that_may_not_be_written_is_refused_at_once(mvcap, models, mount: Mount):
    out = mount("size=2m") / "out"
    build = ("build-all", "--models", models("things/a"), "--out", out, *FAST)
    mount("size=2m,ro")
    done = mvcap(*build)
    assert done.returncode == 2
    assert f"cannot write to {out}: Read-only file system; choose another folder with --out" in done.stderr
    mount("size=2m,rw")
    assert mvcap(*build).returncode == 0
    mount("size=2m,ro")
    for command in (("caption", out, *FAST[:2]), ("verify", out)):
        done = mvcap(*command)
        assert (done.returncode, "cannot write to" in done.stderr) == (2, True), done.stderr
    assert mvcap("verify", out, "--dry-run").returncode == 0
    assert mvcap("status", out).returncode == 0
