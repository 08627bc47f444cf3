"""Processors, memory, shared memory, open files: what containers and batch systems keep small."""

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from pipelines.doctor.cgroups import CgroupLimits, read_limits
from pipelines.doctor.findings import Finding

LEAST_MEMORY_BYTES: Final = 4e9
RENDERER_BYTES: Final = 1e9
"""For a Blender with a model of some hundred thousand faces; `render.options.max_memory_gb` caps each."""
SHARED_MEMORY: Final = Path("/dev/shm")
LEAST_SHARED_BYTES: Final = 200e6
"""Ray's object store, 128 MiB here, and its slack. Docker gives 64 MB unless told otherwise."""
LEAST_FILES: Final = 1024
ENOUGH_FILES: Final = 8192
"""Ray holds some dozens for each worker, and its head for each node."""
WANTED_FILES: Final = 65536


def check_cpus(limits: CgroupLimits | None = None) -> Iterator[Finding]:
    """Compare the CPUs that programs see with the time that they may use."""
    seen, quota = len(os.sched_getaffinity(0)), (limits or read_limits()).cpus
    if quota is None or quota >= seen:
        yield Finding("CPUs", True, f"{seen}")
        return
    fitting = max(int(quota), 1)
    yield Finding(
        "CPUs",
        False,
        f"{seen} are seen, but the control group's quota is {quota:g}: more renderers than that wait for "
        "each other",
        f"--set run.render_workers={fitting}, and `ray start --num-cpus={fitting}`; or raise the quota "
        "(docker --cpus, limits.cpu in Kubernetes)",
        needed=False,
    )


def check_memory(limits: CgroupLimits | None = None) -> Iterator[Finding]:
    total = psutil.virtual_memory().total
    limit = (limits or read_limits()).memory_bytes
    usable = total if limit is None else min(total, limit)
    detail = f"{total / 1e9:.1f} GB"
    if usable < total:
        detail = f"{usable / 1e9:.1f} GB by the control group's limit, of {total / 1e9:.1f} GB"
    if usable < LEAST_MEMORY_BYTES:
        remedy = "4 GB are the least for one renderer: docker --memory=8g, limits.memory in Kubernetes"
        yield Finding("memory", False, detail, remedy)
        return
    seen = len(os.sched_getaffinity(0))
    enough = usable >= seen * RENDERER_BYTES
    tight = f"{detail} for {seen} renderers at once: large models will end as `oom`"
    workers = int(usable / RENDERER_BYTES)
    yield Finding(
        "memory", enough, detail if enough else tight, f"--set run.render_workers={workers}", needed=False
    )


def check_shared_memory(folder: Path = SHARED_MEMORY) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    yield Finding(
        "shared memory",
        free >= LEAST_SHARED_BYTES,
        f"{free / 1e6:.0f} MB free in {folder}",
        "Ray wants 200 MB: docker run --shm-size=1g; in Kubernetes an emptyDir of medium Memory at /dev/shm",
    )


def check_open_files() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    remedy = f"ulimit -n {WANTED_FILES}"
    if hard != resource.RLIM_INFINITY and hard < WANTED_FILES:
        remedy = (
            f"the hard limit is {hard}: docker --ulimit nofile={WANTED_FILES}:{WANTED_FILES}, or a line "
            f"`* - nofile {WANTED_FILES}` in /etc/security/limits.conf"
        )
    unlimited = soft == resource.RLIM_INFINITY
    yield Finding(
        "open files",
        unlimited or soft >= ENOUGH_FILES,
        "no limit" if unlimited else f"limit {soft}",
        remedy,
        needed=soft < LEAST_FILES,
    )
