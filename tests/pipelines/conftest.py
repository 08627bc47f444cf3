"""What the tests of the pipeline share."""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of four plain backgrounds of different shades."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for shade in range(4):
        Image.new("RGB", (40, 30), (0, 0, 50 * shade)).save(folder / f"{shade}.png")
    return folder
