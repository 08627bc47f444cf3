"""Two datasets side by side, in headless Chromium."""

from pathlib import Path
from typing import Any

import pytest

from mvcap.config import Config
from pipelines.comparing import compare_datasets

pytestmark = pytest.mark.browser

ATTACK = "<img src=x onerror='window.hacked = 1'></script><script>window.hacked = 2</script>"


@pytest.fixture(scope="session")
def page_file(page_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 chairs and 3 cups, 5 views each, captioned twice: some captions and a picture differ."""
    things = [page_dataset.Thing(f"{name} {n}", name) for name in ("chair", "cup") for n in range(3)]
    changes = {
        ("chair 0", 2): {"caption": ATTACK},
        ("cup 1", 4): {"caption": "a thing", "category_match": None},
        ("cup 2", 0): {"image": {"bytes": page_dataset.disc(0.5, 0.9), "path": None}},
    }
    root = tmp_path_factory.mktemp("compare")
    page_dataset.write(root / "one", things, views=5)
    page_dataset.write(root / "two", things, views=5, changes=changes)
    configs = Config(name="one"), Config(name=ATTACK)
    first, second = zip((root / "one", root / "two"), configs, strict=True)
    compare_datasets(first, second, root / "compare.html", sample=1000, seed=0)
    return root / "compare.html"


def texts_of(page: Any) -> list[tuple[str, ...]]:
    cards = page.locator("#pairs .pair").all()
    return [tuple(card.locator(".caption").all_inner_texts()) for card in cards]


def test_pairs_are_of_one_view_and_can_be_told_apart(page_file, visit):
    page = visit(page_file)
    assert page.locator("#found").inner_text() == "1–24 of 30 pairs"
    page.locator("#query").fill("THING a")
    assert texts_of(page) == [("a cup number 4 of cup 1", "a thing")]
    page.locator("#query").fill("")
    page.locator("#difference").select_option("category named in the first only")
    assert texts_of(page) == [("a cup number 4 of cup 1", "a thing")]
    page.locator("#difference").select_option("captions differ")
    assert page.locator("#found").inner_text() == "1–2 of 2 pairs"
    page.locator("#category").select_option("chair")
    assert texts_of(page) == [("a chair number 2 of chair 0", ATTACK)]
    assert page.evaluate("window.hacked") is None


def test_two_pictures_are_shown_where_they_differ(page_file, visit):
    page = visit(page_file)
    page.locator("#difference").select_option("pictures differ")
    assert page.locator("#pairs .sprite").count() == 2
    assert texts_of(page) == [("a cup number 0 of cup 2",) * 2]
    page.locator("#difference").select_option("the same caption")
    page.locator("#category").select_option("chair")
    assert page.locator("#pairs .sprite").count() == page.locator("#pairs .pair").count() == 14


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_contrast_and_structure_pass_axe_at_any_width(page_file, visit, size, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
    )
    page = visit(page_file, size, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    results = axe.Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
