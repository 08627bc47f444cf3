"""Kill what sixty seeds draw, instead of five.

.venv/bin/pytest -s --timeout 0 tests/soak/soak_seeded_kills.py
"""

import os
import subprocess
import sys
from pathlib import Path

KILLS = Path(__file__).parents[1] / "e2e" / "test_seeded_kills.py"


def test_whatever_sixty_seeds_kill_the_dataset_is_the_same():
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "0", str(KILLS)]
    assert subprocess.run(command, env={**os.environ, "MVCAP_SOAK": "1"}, check=False).returncode == 0
