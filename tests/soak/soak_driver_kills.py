"""Kill the driver at every passing of every step, not only at some of them.

.venv/bin/pytest -s --timeout 0 tests/soak/soak_driver_kills.py
"""

import os
import subprocess
import sys
from pathlib import Path

KILLS = Path(__file__).parents[1] / "e2e" / "test_driver_kills.py"


def test_a_driver_may_be_killed_at_every_passing_of_every_step():
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "0", str(KILLS)]
    assert subprocess.run(command, env={**os.environ, "MVCAP_SOAK": "1"}, check=False).returncode == 0
