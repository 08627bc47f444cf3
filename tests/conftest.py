"""Shared by all tests: one thread for each library, and small folders of real models."""

import os
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs a hub starts its own

from mvcap import plugins, recipes
from mvcap.config import Config

TETRAHEDRON = """\
v 0 0 0
v 1 0 0
v 0 1 0
v 0 0 1
f 1 3 2
f 1 2 4
f 2 3 4
f 1 4 3
"""


@pytest.fixture
def openai_server() -> Iterator[Any]:
    """A server of `tests/doubles/openai_server.py`, whose faults prompts ask for."""
    with runpy.run_path(str(Path(__file__).with_name("doubles") / "openai_server.py"))["start"]() as server:
        yield server


@pytest.fixture(scope="session")
def build_llava() -> Callable[..., Path]:
    """Write the small LLaVA of `tests/doubles/llava.py` to a folder; its captions mean nothing."""
    build: Callable[..., Path] = runpy.run_path(str(Path(__file__).with_name("doubles") / "llava.py"))[
        "build"
    ]
    return build


@pytest.fixture
def models(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of tetrahedra (OBJ), one file for each name."""

    def make(*names: str) -> Path:
        folder = tmp_path / "models"
        for name in names:
            path = folder / f"{name}.obj"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(TETRAHEDRON)
        return folder

    return make


@pytest.fixture
def fake_config() -> Callable[..., Config]:
    """Make a configuration with the fake renderer and captioner over a folder of models."""

    def make(folder: Path, **changes: Any) -> Config:
        settings: dict[str, Any] = {
            "sources": [{"source": "folder", "options": {"path": str(folder)}}],
            "plan": {"objects_per_shard": 2, "splits": {"train": 1.0}},
            "render": {"backend": "fake", "views": 3, "resolution": 32},
            "captions": {"backend": "fake"},
            "run": {"render_workers": 1, "caption_workers": 1},
        }
        assignments = [f"{path.replace('__', '.')}={value}" for path, value in changes.items()]
        return recipes.build_config(recipes.apply_overrides(settings, assignments), plugins.options_model)

    return make
