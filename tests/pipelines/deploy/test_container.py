"""The container recipe, as far as one can judge it without a container engine."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "pipelines/deploy"
ESSENTIAL = {"libc6", "libgcc-s1", "libstdc++6"}
"""What Python's own image holds."""


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile with its arguments, continued lines joined, comments left out."""
    text = re.sub(r"(?m)^#.*\n", "", (DEPLOY / "Dockerfile").read_text()).replace("\\\n", " ")
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def copied(instructions: list[tuple[str, str]]) -> list[str]:
    return [name for kind, rest in instructions if kind == "COPY" for name in rest.split()[:-1]]


@pytest.mark.slow
def test_the_linter_of_dockerfiles_has_nothing_to_say():
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_it_installs_are_extras_of_the_project_for_the_python_that_blender_wants(instructions, project):
    (extras,) = [rest.removeprefix("EXTRAS=").split(",") for kind, rest in instructions if kind == "ARG"]
    assert set(extras) <= set(project["optional-dependencies"])
    assert {"blender", "captions", "cluster"} <= set(extras)
    (base,) = [rest for kind, rest in instructions if kind == "FROM"]
    (bpy,) = [item for item in project["optional-dependencies"]["blender"] if item.startswith("bpy")]
    wanted = re.search(r"python_version == '([\d.]+)'", bpy)[1]
    assert base.startswith(f"python:{wanted}-")


def test_the_build_context_holds_what_is_copied_and_nothing_else(instructions):
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert sorted(line.removeprefix("!") for line in ignored if line.startswith("!")) == sorted(
        copied(instructions)
    )


@pytest.mark.slow
def test_what_is_copied_is_enough_to_build_and_holds_the_whole_package(instructions, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    for name in copied(instructions):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, context / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, context]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert {"pipelines/deploy/Dockerfile", "mvcap/configs/demo.yaml", "mvcap/py.typed"} <= packed


@pytest.mark.blender
def test_its_packages_bring_every_library_that_blender_is_linked_to(instructions):
    spec = find_spec("bpy")
    if not (spec and spec.origin and shutil.which("dpkg-query")):
        pytest.skip("needs bpy, and Debian's packages to look libraries up in")
    linked = subprocess.run(["ldd", spec.origin], capture_output=True, text=True, check=True).stdout
    libraries = {Path(path).name for path in re.findall(r"=> (/\S+)", linked) if "site-packages" not in path}
    needed = {package for name in libraries for package in packages_with(name)}
    assert "libx11-6" in needed
    assert needed <= brought_by(packages_of(instructions)) | ESSENTIAL


def packages_of(instructions: list[tuple[str, str]]) -> set[str]:
    """What `apt-get install` is asked for."""
    (install,) = [rest for kind, rest in instructions if "apt-get install" in rest]
    words = shlex.split(install.split("apt-get install")[1].split("&&")[0])
    return {word for word in words if not word.startswith("-")}


def packages_with(library: str) -> set[str]:
    found = subprocess.run(["dpkg-query", "--search", f"*/{library}"], capture_output=True, text=True).stdout
    return {line.split(":")[0] for line in found.splitlines() if ":amd64:" in line}


def brought_by(packages: set[str]) -> set[str]:
    """These packages, and what they depend on."""
    brought: set[str] = set()
    while new := packages - brought:
        brought |= new
        asked = ["dpkg-query", "--show", "--showformat", "${Depends},", *new]
        depends = subprocess.run(asked, capture_output=True, text=True).stdout
        packages = {re.split(r"[ :(|]", entry.strip())[0] for entry in depends.split(",") if entry.strip()}
    return brought
