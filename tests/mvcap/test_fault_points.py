"""A process kills itself at the named passing of the named step, and only there."""

import subprocess
import sys

import pytest

from mvcap import fault_points

PASS_TWO_STEPS = """
from mvcap import fault_points
for point in ("plan.written", "shard.recorded") * 3:
    print(point, flush=True)
    fault_points.passing(point)
"""


@pytest.mark.parametrize(
    ("fault", "code", "passed"), [("", 0, 6), ("shard.recorded:1", -9, 2), ("plan.written:2", -9, 3)]
)
def test_a_process_ends_at_the_named_passing(fault, code, passed):
    done = subprocess.run(
        [sys.executable, "-c", PASS_TWO_STEPS],
        env={"MVCAP_FAULT": fault},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, len(done.stdout.split())) == (code, passed)


@pytest.mark.parametrize("text", ["plan.eaten:1", "plan.written", "plan.written:0", "plan.written:-1"])
def test_what_names_no_passing_of_a_step_is_refused(text, monkeypatch):
    monkeypatch.setenv(fault_points.VARIABLE, text)
    with pytest.raises(ValueError, match=r"points: staged\.written, "):
        fault_points.passing("shard.recorded")
