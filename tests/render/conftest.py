"""What the tests of this room share: interpreters, assets and jobs."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from render.cameras import hemisphere_viewpoints
from render.job import RenderJob, SceneSettings
from render.stage import make_scene

DOUBLES = Path(__file__).with_name("doubles")
Launcher = Callable[[str], str]
JobMaker = Callable[..., RenderJob]


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    """Write an executable that runs one of the doubles in place of the interpreter."""

    def write(double: str, name: str = "interpreter", exec_: str = "exec") -> str:
        script = tmp_path / name
        script.write_text(f'#!/bin/sh\n{exec_} "{sys.executable}" "{DOUBLES / double}.py" "$@"\n')
        script.chmod(0o755)
        return str(script)

    return write


@pytest.fixture(scope="session")
def scene() -> SceneSettings:
    return make_scene(
        resolution=64,
        lens_mm=35.0,
        sensor_mm=32.0,
        light="studio",
        preset="physical",
        samples=2,
        view_transform="Standard",
    )


@pytest.fixture
def make_job(tmp_path: Path, scene: SceneSettings) -> JobMaker:
    """Describe the rendering of a cube in a file of the given name."""

    def make(name: str = "cube", views: int = 3, scene: SceneSettings = scene) -> RenderJob:
        asset = tmp_path / f"{name}.obj"
        asset.write_text(CUBE_OBJ)
        viewpoints = tuple(hemisphere_viewpoints(views, np.random.default_rng(0)))
        return RenderJob(name, str(asset), None, viewpoints, 1.5, 0.04, scene)

    return make


CUBE_OBJ = """\
v -1 -1 -1
v 1 -1 -1
v 1 1 -1
v -1 1 -1
v -1 -1 1
v 1 -1 1
v 1 1 1
v -1 1 1
f 4 3 2 1
f 5 6 7 8
f 1 2 6 5
f 2 3 7 6
f 3 4 8 7
f 4 1 5 8
"""
