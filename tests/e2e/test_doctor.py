"""`mvcap doctor` on machines that lack something, as they come."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MVCAP = Path(sys.executable).with_name("mvcap")


@pytest.mark.ray
@pytest.mark.blender
@pytest.mark.slow
def test_a_machine_with_few_open_files_fails_and_all_else_is_looked_at():
    command = f"ulimit -n 1000 && exec {MVCAP} doctor --json --set captions.backend=template"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=240)
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 1
    assert [name for name, found in findings.items() if found["needed"] and not found["fine"]] == [
        "open files"
    ]
    assert "hard limit is 1000: docker --ulimit nofile=65536:65536" in findings["open files"]["remedy"]
    assert "rendered a cube; blender" in findings["Blender"]["detail"]
    assert "a worker ran a task" in findings["Ray starts"]["detail"]
    assert findings["captioner"]["detail"] == "template"


@pytest.mark.slow
def test_packages_that_do_not_fit_each_other_are_named_without_a_traceback(tmp_path):
    """pyarrow 26 beside numpy 1.26 does just this, and every other command ends with it."""
    (tmp_path / "pyarrow.py").write_text("raise ImportError('pyarrow requires numpy>=2.0, found 1.26.4')")
    (tmp_path / "ray.py").write_text("import os; os.kill(os.getpid(), 11)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NO_COLOR": "1"}
    done = subprocess.run([MVCAP, "doctor"], capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 1
    assert "FAIL pyarrow         does not import: ImportError: pyarrow requires numpy>=2.0" in done.stdout
    assert "FAIL ray             does not import: ended by SIGSEGV" in done.stdout
    assert "pip install 'mvcap[blender]'" in done.stdout
    assert "mend the packages first" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_settings_that_are_none_are_refused(mvcap):
    done = mvcap("doctor", "--set", "render.blendre=/opt/blender")
    assert done.returncode == 2
    assert "did you mean 'blender'" in done.stderr
