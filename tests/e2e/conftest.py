"""What the end-to-end tests share: the installed command, and an interpreter that misbehaves on demand."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MVCAP = Path(sys.executable).with_name("mvcap")
DOUBLES = Path(__file__).parents[1] / "render" / "doubles"


@pytest.fixture
def mvcap() -> Callable[..., subprocess.CompletedProcess]:
    """Run the command as a user does, without the hub, and return what it printed."""

    def run(*arguments: object, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(MVCAP), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **environment},
            check=False,
        )

    return run


@pytest.fixture
def start_mvcap() -> Callable[..., subprocess.Popen]:
    """Start the command and return its process."""
    started = []

    def start(*arguments: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [str(MVCAP), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def misbehaving_blender(tmp_path: Path) -> str:
    """An interpreter that runs the real child, and aborts or hangs where an asset's name says so."""
    script = tmp_path / "interpreter"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{DOUBLES / "real_child.py"}" "$@"\n')
    script.chmod(0o755)
    return str(script)
