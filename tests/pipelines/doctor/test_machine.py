"""What containers keep small is found, with what to set; where this machine allows it, for real."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipelines.doctor.cgroups import CgroupLimits
from pipelines.doctor.machine import check_cpus, check_memory, check_open_files, check_shared_memory

CPUS = len(os.sched_getaffinity(0))


def test_a_quota_below_the_cpus_that_are_seen_is_a_note_that_names_the_workers():
    (finding,) = check_cpus(CgroupLimits(cpus=CPUS - 0.5, memory_bytes=None))
    assert (finding.fine, finding.fatal) == (False, False)
    assert f"run.render_workers={max(int(CPUS - 0.5), 1)}" in finding.remedy
    (finding,) = check_cpus(CgroupLimits(cpus=float(CPUS), memory_bytes=None))
    assert finding.fine


@pytest.fixture
def cgroup_of_half_a_cpu():
    """A real control group, of the version that this system has."""
    mount = Path("/sys/fs/cgroup")
    folder = (
        mount if (mount / "cgroup.controllers").exists() else mount / "cpu"
    ) / f"mvcap-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no right to make control groups: {error}")
    try:
        if (folder / "cpu.cfs_quota_us").exists():
            (folder / "cpu.cfs_period_us").write_text("100000")
            (folder / "cpu.cfs_quota_us").write_text("50000")
        elif (folder / "cpu.max").exists():
            (folder / "cpu.max").write_text("50000 100000")
        else:
            pytest.skip("the groups have no cpu controller")
        yield folder
    finally:
        folder.rmdir()


def test_a_real_quota_is_seen_by_a_process_in_its_group(cgroup_of_half_a_cpu):
    program = (
        "import sys; open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n"
        "from pipelines.doctor.machine import check_cpus\n"
        "print(*check_cpus())"
    )
    command = [sys.executable, "-c", program, str(cgroup_of_half_a_cpu)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "quota is 0.5" in said
    assert "run.render_workers=1" in said


def test_a_memory_limit_below_what_a_renderer_takes_is_fatal():
    (finding,) = check_memory(CgroupLimits(None, memory_bytes=2 * 10**9))
    assert finding.fatal
    assert finding.detail.startswith("2.0 GB by the control group's limit")
    assert "docker --memory" in finding.remedy


def test_memory_for_fewer_renderers_than_cpus_is_a_note(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    limit = min(psutil.virtual_memory().total, 6 * 10**9)
    (finding,) = check_memory(CgroupLimits(None, memory_bytes=limit))
    assert (finding.fine, finding.fatal) == (False, False)
    assert finding.remedy == f"--set run.render_workers={int(limit / 1e9)}"


def test_no_shared_memory_is_fatal(tmp_path):
    (finding,) = check_shared_memory(tmp_path / "missing")
    assert finding.fatal
    assert "--shm-size" in finding.remedy


@pytest.mark.slow
def test_shared_memory_of_a_container_is_too_small_for_ray():
    """Docker gives 64 MB; here a file system of 16 MB is mounted where only the command sees it."""
    inside = "mount -t tmpfs -o size=16m tmpfs /dev/shm && exec " + " ".join(
        [sys.executable, "-c", "'from pipelines.doctor.machine import *; print(*check_shared_memory())'"]
    )
    done = subprocess.run(["unshare", "--mount", "sh", "-c", inside], capture_output=True, text=True)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no right to mount: {done.stderr}")
    assert done.stdout.startswith("FAIL shared memory   17 MB free")


@pytest.mark.parametrize(("limit", "mark"), [(512, "FAIL"), (4096, "note"), (8192, "ok")])
def test_a_low_limit_of_open_files_is_found(limit, mark):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, hard), hard))
        (finding,) = check_open_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert str(finding).startswith(mark)
    assert "65536" in finding.remedy
