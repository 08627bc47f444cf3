"""100,000 views: the page stays small, opens at once and is searched as one types."""

import os
import time
from typing import Any

import pytest

from mvcap.config import Config
from pipelines.reporting import SAMPLE, Written, report_dataset

VIEWS = 100_000
MOST_BYTES = 32_000_000
"""With as many pictures as there can be, also of those that compress badly; renders take a third of it."""
MOST_BYTES_OF_A_ROW = 200
"""Of a further row that is listed without a picture."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pages(page_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Written, Written]:
    """The page of 1,000 objects with 100 views each, by default and with every view listed."""
    root = tmp_path_factory.mktemp("large")
    things = [
        page_dataset.Thing(f"thing {n}", f"category {n % 150}", creator=f"creator {n % 77}")
        for n in range(1000)
    ]
    page_dataset.write(root, things, views=100, per_shard=50, pictures=page_dataset.noise(16, 128))
    config = Config(name="large")
    usual = report_dataset(config, root, root / "usual.html", sample=SAMPLE, seed=0)
    return usual, report_dataset(config, root, root / "all.html", sample=VIEWS, seed=0)


def test_the_page_stays_within_its_size(pages):
    usual, everything = pages
    assert (usual.listed, usual.views, everything.listed) == (SAMPLE, VIEWS, VIEWS)
    assert usual.bytes == usual.path.stat().st_size < MOST_BYTES
    assert everything.bytes < MOST_BYTES + MOST_BYTES_OF_A_ROW * VIEWS
    print(f"\n{usual.bytes / 1e6:.1f} MB with {usual.listed} views, {everything.bytes / 1e6:.1f} MB with all")


@pytest.mark.browser
def test_all_views_can_be_searched(pages, visit):
    _, everything = pages
    started = time.monotonic()
    page = visit(everything.path)
    page.locator("#views .caption").first.wait_for()
    opened_s = time.monotonic() - started
    searched_ms = page.evaluate(
        """() => {
            const query = document.getElementById("query");
            const started = performance.now();
            query.value = "category 7 number 42";
            query.dispatchEvent(new Event("input"));
            document.body.offsetHeight;
            return performance.now() - started;
        }"""
    )
    found = page.locator("#found").inner_text()
    print(f"\nopened in {opened_s:.2f} s, searched in {searched_ms:.0f} ms ({os.cpu_count()} cores): {found}")
    matching = sum("7" in f"{n} {n % 150} {n % 77}" for n in range(1000))
    assert found.startswith("1–24 of ")
    assert int(found.split()[-2].replace(",", "")) >= matching
    assert opened_s < 20
    assert searched_ms < 1000
