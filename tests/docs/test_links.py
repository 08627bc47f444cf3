"""Every link between pages leads to a file."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_between_pages_leads_to_a_file(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    broken = [link for link in targets if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def test_readme_leads_to_every_page():
    linked = (ROOT / "README.md").read_text("utf-8")
    assert [page.name for page in PAGES[2:] if f"docs/{page.name}" not in linked] == []
