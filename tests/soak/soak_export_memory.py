"""Exports of 2 GiB, Lance's too, which keeps up to some hundred MiB in flight: memory stays bounded.

.venv/bin/pytest -s --timeout 0 tests/soak/soak_export_memory.py
"""

import os
import subprocess
import sys
from pathlib import Path

MEMORY = Path(__file__).parents[1] / "mvcap" / "exports" / "test_memory.py"


def test_memory_does_not_grow_with_two_gigabytes():
    command = [sys.executable, "-m", "pytest", "-q", "-s", "--timeout", "0", str(MEMORY)]
    assert subprocess.run(command, env={**os.environ, "MVCAP_SOAK": "1"}, check=False).returncode == 0
