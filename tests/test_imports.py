"""Every module imports, the front door is light, and the heavy libraries get along."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mvcap", "render", "captions", "training", "pipelines")
IN_BLENDER_ONLY = "render.blender_child."
LIBRARIES = (*("bpy", "numpy", "pandas", "pyarrow", "ray", "datasets", "transformers", "torch", "open_clip"),)


def module_names() -> list[str]:
    """List every module of the five packages by its file, so that none escapes for want of `__init__.py`."""
    paths = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("name", [name for name in module_names() if not name.startswith(IN_BLENDER_ONLY)])
def test_a_module_imports_and_says_what_it_is(name: str):
    module = importlib.import_module(name)
    assert Path(str(module.__file__)).is_relative_to(ROOT)
    assert module.__doc__


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_code_is_a_package(package: str):
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("mvcap", ("torch", "ray", "pyarrow", "transformers", "numpy", "pydantic", "typer", "yaml")),
        ("mvcap.cli", ("torch", "ray", "pyarrow", "transformers", "datasets", "bpy", "pandas")),
        ("mvcap.config", ("torch", "ray", "pyarrow", "numpy")),
        ("mvcap.plan", ("torch", "ray", "pyarrow", "numpy", "pydantic")),
        ("mvcap.storage", ("torch", "ray", "transformers", "PIL")),
        ("render.job", ("torch", "ray", "pyarrow", "bpy", "PIL")),
        ("render.cameras", ("torch", "ray", "pyarrow", "bpy", "PIL")),
        ("captions.prompts", ("torch", "transformers", "pyarrow", "numpy")),
        ("pipelines.build_all", ("torch", "ray", "transformers", "bpy")),
    ],
)
def test_importing_stays_light(module: str, heavy: tuple[str, ...]):
    done = run(f"import sys, {module}\nprint(*(set({heavy!r}) & set(sys.modules)))")
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.blender
def test_the_blender_child_imports_where_bpy_does():
    modules = [name for name in module_names() if name.startswith(IN_BLENDER_ONLY)]
    done = run("import bpy\n" + "\n".join(f"import {name}; assert {name}.__doc__" for name in modules))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.blender
def test_all_heavy_libraries_import_together_in_one_interpreter():
    done = run(f"import {', '.join(LIBRARIES)}\nprint(numpy.__version__, bpy.app.version_string)")
    assert done.returncode == 0, done.stdout + done.stderr
