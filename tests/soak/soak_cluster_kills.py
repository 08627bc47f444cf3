"""Kill workers, nodes and drivers on a cluster of three nodes, as thirty seeds draw.

.venv/bin/pytest -s --timeout 0 tests/soak/soak_cluster_kills.py
"""

import os
import subprocess
import sys
from pathlib import Path

FAULTS = Path(__file__).parents[1] / "e2e" / "test_ray_cluster_faults.py"


def test_whatever_thirty_seeds_kill_on_a_cluster_the_dataset_is_the_same():
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "600", str(FAULTS), "-k", "seed_kills"]
    assert subprocess.run(command, env={**os.environ, "MVCAP_SOAK": "1"}, check=False).returncode == 0
