"""What the end-to-end tests share: the installed command, and an interpreter that misbehaves on demand."""

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mvcap.verify import verify_dataset

MVCAP = Path(sys.executable).with_name("mvcap")
DOUBLES = Path(__file__).parents[1] / "render" / "doubles"
PAGE = "report/index.html"
CARD = "README.md"
NAMES = re.compile(rb"(?m)(^pretty_name:|^#|mvcap render --out|mvcap caption) \S+")
"""Where a card has the name of its folder."""


@pytest.fixture(scope="session")
def forked_drivers() -> dict[str, Any]:
    """What `tests/doubles/forked_drivers.py` holds: `start`, which gives commands without a start-up."""
    return runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "forked_drivers.py"))


@pytest.fixture(scope="session")
def drivers(forked_drivers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Runs the command without a start-up; not for Ray."""
    with forked_drivers["start"](tmp_path_factory.mktemp("drivers")) as run:
        yield run


@pytest.fixture(scope="session")
def ray_drivers(forked_drivers: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Runs the command without a start-up, with Ray imported."""
    with forked_drivers["start"](tmp_path_factory.mktemp("drivers"), forked_drivers["WITH_RAY"]) as run:
        yield run


@pytest.fixture(scope="session")
def ray_clusters() -> SimpleNamespace:
    """What `tests/doubles/ray_clusters.py` holds: clusters on this machine, and what can happen to them."""
    path = Path(__file__).parents[1] / "doubles" / "ray_clusters.py"
    return SimpleNamespace(**runpy.run_path(str(path)))


@pytest.fixture
def start_ray() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start Ray as an administrator does: `ray ARGUMENTS`, behind another command where one is given."""
    started = []

    def start(*arguments: str, before: Sequence[str] = (), **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*before, MVCAP.with_name("ray"), *arguments],
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def assert_equal_datasets() -> Callable[..., None]:
    """Compare what readers see of two datasets, byte for byte but for page and name, and all records."""

    def content_of(out: Path) -> dict[str, object]:
        files = {path for path in out.rglob("*") if path.is_file() and path.parent.name != "logs"}
        records = {path for path in files if path.is_relative_to(out / "_mvcap")}
        seen = files - records
        content = {str(path.relative_to(out)): path.read_bytes() for path in seen}
        page = content[PAGE]  # tells where it lies and how long the work took
        assert page.rstrip().endswith(b"</html>")
        return content | {
            PAGE: b"whole",
            CARD: NAMES.sub(rb"\1", content[CARD]),
            "records": {str(path.relative_to(out)) for path in records},
        }

    def check(out: Path, undisturbed: Path, what: object = "") -> None:
        found, expected = content_of(out), content_of(undisturbed)
        assert found.keys() == expected.keys(), what
        assert {name for name in expected if found[name] != expected[name]} == set(), what
        assert verify_dataset(out) == [], what

    return check


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


@pytest.fixture(scope="session")
def page_dataset() -> SimpleNamespace:
    """What `tests/doubles/page_dataset.py` holds: `Thing`, and `write`, which makes a dataset of things."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "page_dataset.py")))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, headless, for one file alone.

    Playwright's driver ends when its input closes, and whatever a test forks meanwhile holds that open.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Any]:
    """Open a page file; at the end nothing may have gone to the console, nor been asked of the network."""
    contexts, trouble = [], []

    def visit(file: Path, size: tuple[int, int] = (1280, 900), **options: Any) -> Any:
        width, height = size
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: trouble.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("request", lambda request: note_request(request.url))
        page.goto(file.as_uri())
        return page

    def note_request(address: str) -> None:
        if not address.startswith(("file:", "blob:", "data:")):
            trouble.append(f"request: {address}")

    yield visit
    for context in contexts:
        context.close()
    assert trouble == []
