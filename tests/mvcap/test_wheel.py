"""The built wheel holds everything that the source folders hold."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("mvcap", "render", "captions", "training", "pipelines")
LEFT_BEHIND = frozenset({".pyc"})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def entries(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path):
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix not in LEFT_BEHIND
    }
    packed = {name for name in entries(wheel) if ".dist-info/" not in name}
    assert packed == on_disk
    assert {Path(name).suffix for name in packed} >= {".py", ".yaml", ".csv", ".typed"}


def test_the_wheel_carries_the_licence_and_the_command(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (commands,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "mvcap = mvcap.cli:main" in archive.read(commands).decode()
    assert any(name.endswith("/licenses/LICENSE") for name in entries(wheel))


def test_recipes_and_labels_are_found_inside_the_wheel_itself(wheel: Path, tmp_path: Path):
    """The wheel comes first on the path, as a zip file: nothing of the source folders is at hand."""
    code = (
        "from mvcap.recipes import recipe_names, read_recipe\n"
        "from mvcap.sources.sh3f import read_labels\n"
        "from mvcap import plugins\n"
        "import mvcap\n"
        "assert '.whl' in mvcap.__file__, mvcap.__file__\n"
        "assert read_recipe('demo')['name'] == 'demo'\n"
        "assert len(read_labels(demo_only=True)) >= 60\n"
        "assert {'folder', 'images', 'sh3f'} <= set(plugins.names('mvcap.sources'))\n"
        "print(*recipe_names())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(wheel)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout.split()
