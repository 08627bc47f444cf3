"""Retrain the small captioner from nothing, and compare it with the one that ships.

About an hour on two free cores: `make soak`, or `pytest -s --timeout 0` on this file. The views are kept
in mvcap's cache, the retrained checkpoint is not.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from captions.backends.instructblip import TINY_FOLDER
from captions.checkpoints import weights_sha256
from mvcap.files import cache_folder

ROOT = Path(__file__).parents[2]
RENDERS = {
    "views-fast": ("--preset", "fast", "--views", "40", "--set", "seed=1"),
    "views-physical": ("--preset", "physical", "--views", "8", "--set", "seed=2"),
}
WITHIN = 0.02
"""Figures may differ by this much where another torch or another Blender rounds differently."""


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], cwd=ROOT, check=False)
    assert done.returncode == 0, command


@pytest.fixture(scope="module")
def views() -> list[Path]:
    """Render the furniture, unless it is there already; the same command goes on where it was stopped."""
    mvcap = Path(sys.executable).with_name("mvcap")
    folders = {name: cache_folder() / "tiny-captioner" / name for name in RENDERS}
    for name, folder in folders.items():
        if not (folder / "objects.parquet").exists():
            run(mvcap, "render", "--config", "captions/tiny/views.yaml", "--out", folder, *RENDERS[name])
    return list(folders.values())


def test_retraining_gives_the_shipped_checkpoint_again(views: list[Path], tmp_path: Path):
    named = [part for folder in views for part in ("--views", folder)]
    train = (sys.executable, "-m", "captions.tiny.train")
    run(*train, *named, "--out", tmp_path / "first")
    run(*train, *named, "--start", tmp_path / "first", "--out", tmp_path / "second")
    run(*train, "--views", views[0], "--start", tmp_path / "second", "--out", tmp_path / "tiny")
    run(sys.executable, "-m", "captions.tiny.evaluate", *named, "--model", tmp_path / "tiny", "--card")
    shipped, retrained = (
        json.loads((folder / "figures.json").read_text()) for folder in (TINY_FOLDER, tmp_path / "tiny")
    )
    equal = weights_sha256(TINY_FOLDER) == weights_sha256(tmp_path / "tiny")
    print(f"\nthe weights are {'equal, byte for byte' if equal else 'not the same bytes'}")
    for word in ("category", "colour", "view"):
        assert retrained["captions"][word] == pytest.approx(shipped["captions"][word], abs=WITHIN)
