"""Every command that a page shows is run, or marked with the reason why it cannot be on any machine.

`<!-- not run: REASON -->` above a block marks it; its commands of `mvcap` must still be ones that exist, with
options that exist. All others are run in order, in a folder for each page that has some models, pictures and
a dataset: smaller than written, without Ray, and with the toy for a captioner where none is named.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from PIL import Image

from mvcap.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "pipelines/deploy/README.md"]
REASONS = ("needs a GPU", "needs the hub", "needs a cluster", "needs a server", "installs", "CI runs it")
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.+?) -->\n)?```bash\n(?P<body>.*?)```", re.DOTALL)
TOY = str(ROOT / "captions" / "tiny" / "checkpoint")
SMALLER = {
    "--views 24": "--views 2",
    "--resolution 384": "--resolution 48",
    "--view 17": "--view 1",
    "--split test": "--split train",
    "--config demo": "--config demo --set data.batch=4 --set optimiser.steps=2",
    "/models/instructblip-flan-t5-xl": TOY,
}
BUILT = "mvcap build-all --models my_models --out my_dataset"


@dataclass(frozen=True, slots=True)
class Block:
    """Commands that stand together on a page."""

    page: Path
    reason: str | None
    commands: tuple[list[str], ...]


def read_blocks(page: Path) -> list[Block]:
    return [
        Block(page, found["reason"], tuple(split(found["body"])))
        for found in BLOCK.finditer(page.read_text("utf-8"))
    ]


def split(body: str) -> list[list[str]]:
    """Split a block into commands without comments; a backslash continues a line."""
    lines = body.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


BLOCKS = [block for page in PAGES for block in read_blocks(page)]
CLI = typer.main.get_command(app)


def sub_command(words: list[str]) -> typer.core.TyperCommand:
    command = CLI.commands.get(words[1])
    assert command, f"there is no `mvcap {words[1]}`"
    return command


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.page.name)
def test_what_is_not_run_has_a_reason_and_exists(block):
    assert block.reason is None or block.reason.startswith(REASONS)
    for words in block.commands:
        if words[0] == "mvcap":
            sub_command(words).make_context(words[1], words[2:], resilient_parsing=True)


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory, write_models: Callable[..., Path]) -> Path:
    """Models, pictures and a dataset, as the pages presume them."""
    folder = tmp_path_factory.mktemp("materials")
    write_models(folder / "my_models", "chair/a", "chair/b", "mug/c")
    rng = np.random.default_rng(0)
    for name in ("cat/one", "cat/two", "dog/three"):
        path = folder / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    built = next(
        words
        for block in read_blocks(ROOT / "README.md")
        for words in block.commands
        if " ".join(words).startswith(BUILT)
    )
    run(built, folder)
    return folder


def run(words: list[str], folder: Path) -> None:
    """Run a command, smaller than it is written, and expect success."""
    line = shlex.join(words)
    for large, small in SMALLER.items():
        line = line.replace(large, small)
    objects = folder / "my_dataset" / "objects.parquet"
    if "folder-chair-1a2b3c4d" in line:
        line = line.replace("folder-chair-1a2b3c4d", pq.read_table(objects)["uid"][0].as_py())
    arguments = shlex.split(line)
    if arguments[0] == "mvcap" and any(option.name == "runner" for option in sub_command(arguments).params):
        arguments += ["--runner", "local"]
        if "captions." not in line and "--control" not in line and arguments[1] != "render":
            arguments += ["--set", f"captions.options.model={TOY}"]
    environment = {
        **os.environ,
        **{"OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    ended = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, f"{line}\n{ended.stdout}\n{ended.stderr}"


@pytest.mark.slow
@pytest.mark.blender
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_succeed_in_their_order(page, materials, tmp_path):
    commands = [words for block in read_blocks(page) if not block.reason for words in block.commands]
    if not commands:
        pytest.skip("it shows no command, or none that can be run here")
    shutil.copytree(materials, tmp_path / "page")
    for words in commands:
        run(words, tmp_path / "page")
