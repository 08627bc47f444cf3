"""Cores are leased once, and a lease ends with its process."""

import os
import subprocess
import sys

import pytest

from render.cores import lease_core

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no CPU affinity here")


def test_every_core_is_leased_once_and_then_none(tmp_path):
    usable = sorted(os.sched_getaffinity(0))
    leases = [lease_core(tmp_path) for _ in usable]
    assert [lease.core for lease in leases if lease] == usable
    assert lease_core(tmp_path) is None
    leases[0].release()
    assert lease_core(tmp_path).core == usable[0]


def test_a_folder_that_cannot_be_written_costs_the_lease_and_nothing_else(tmp_path):
    (tmp_path / "file").touch()
    assert lease_core(tmp_path / "file" / "slots") is None


def test_a_lease_ends_with_the_process_that_holds_it(tmp_path):
    usable = sorted(os.sched_getaffinity(0))
    hold = (
        "import sys; from pathlib import Path; from render.cores import lease_core\n"
        "lease = lease_core(Path(sys.argv[1])); print(lease.core, flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert int(holder.stdout.readline()) == usable[0]
    other = lease_core(tmp_path)
    assert other is None or other.core != usable[0]
    holder.kill()
    holder.communicate()
    assert lease_core(tmp_path).core == usable[0]
