"""What the tests of the sources share."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def colmap_scene() -> SimpleNamespace:
    """Writes scenes as MVImgNet does: see `tests/doubles/colmap_scene.py`."""
    path = Path(__file__).parents[2] / "doubles" / "colmap_scene.py"
    return SimpleNamespace(**runpy.run_path(str(path)))
