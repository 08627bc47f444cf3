"""The page of a training run, in headless Chromium."""

import runpy
from pathlib import Path

import pytest

from pipelines.training_report import report_training

pytestmark = pytest.mark.browser

ATTACK = "<img src=x onerror='window.hacked = 1'></script><script>window.hacked = 2</script>"


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose recipe and set are named by somebody malicious."""
    double = runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "training_run.py"))
    run = double["write_run"](tmp_path_factory.mktemp("page") / "run", name=ATTACK)
    before, after = (double["told"](ATTACK, accuracy) for accuracy in (0.7, 0.62))
    double["write_results"](run / "eval", double["with_base"](after, before), run="run")
    return report_training(run, None, None).path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_contrast_and_structure_pass_axe_and_names_stay_text(page_file, visit, size, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
    )
    page = visit(page_file, size, color_scheme=scheme)
    assert page.locator("h1").inner_text() == f"Training run: {ATTACK}"
    assert page.locator(".heat").count() == 3
    assert page.locator("polyline.curve").count() == 5 + 4, "a curve each, but for the anchors' four"
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    results = axe.Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
