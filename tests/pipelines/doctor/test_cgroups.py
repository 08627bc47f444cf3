"""Limits of control groups are read from either version's files, and the strictest counts."""

from pathlib import Path

import pytest

from pipelines.doctor.cgroups import CgroupLimits, read_limits

GB = 2**30


@pytest.fixture
def machine(tmp_path):
    """Lay out files below a mount point and say which groups this process is in."""

    def make(membership: str, files: dict[str, str]) -> CgroupLimits:
        mount = tmp_path / "cgroup"
        for name, content in files.items():
            (mount / name).parent.mkdir(parents=True, exist_ok=True)
            (mount / name).write_text(content + "\n")
        (tmp_path / "membership").write_text(membership)
        return read_limits(mount, tmp_path / "membership")

    return make


def test_version_2_in_a_container_is_read_at_the_mount_point(machine):
    limits = machine("0::/\n", {"cpu.max": "150000 100000", "memory.max": str(2 * GB)})
    assert limits == CgroupLimits(1.5, 2 * GB)


def test_the_strictest_of_all_groups_above_counts(machine):
    files = {
        "batch/cpu.max": "200000 100000",
        "batch/job7/cpu.max": "max 100000",
        "batch/job7/step/cpu.max": "800000 100000",
        "batch/memory.max": str(8 * GB),
        "batch/job7/memory.max": str(3 * GB),
        "batch/job7/step/memory.max": "max",
        "other/cpu.max": "1000 100000",
    }
    assert machine("0::/batch/job7/step\n", files) == CgroupLimits(2.0, 3 * GB)


def test_version_1_has_a_folder_for_each_controller(machine):
    files = {
        "cpu,cpuacct/docker/c0ffee/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/docker/c0ffee/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": str(GB),
    }
    (membership := "4:memory:/docker/c0ffee\n2:cpu,cpuacct:/docker/c0ffee\n")
    for name in list(files):  # the mount of both is also reached by the name of each
        files[name.replace("cpu,cpuacct", "cpu")] = files[name]
    assert machine(membership, files) == CgroupLimits(0.5, GB)


def test_nothing_limits_where_the_numbers_say_so(machine):
    files = {
        "cpu/cpu.cfs_quota_us": "-1",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "unified/cgroup.procs": "1",
    }
    assert machine("4:memory:/\n1:cpu:/\n0::/\n", files) == CgroupLimits(None, None)


def test_a_system_without_control_groups_limits_nothing(tmp_path):
    assert read_limits(tmp_path, tmp_path / "missing") == CgroupLimits(None, None)
    assert read_limits(tmp_path, Path("/proc/self/cgroup")) == CgroupLimits(None, None)
