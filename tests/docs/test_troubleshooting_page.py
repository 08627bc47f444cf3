"""What the page quotes is really printed, and no reason is left out."""

import re
from pathlib import Path
from typing import get_args

from mvcap.errors import Reason

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
ROOMS = ("mvcap", "render", "captions", "training", "pipelines")


def quoted(heading: str) -> set[str]:
    """Read what stands in backquotes in the first column of a table."""
    table = PAGE.read_text("utf-8").split(f"| {heading} |")[1].split("\n\n")[0]
    first_cells = re.findall(r"^\| (.+?) \|", table, re.MULTILINE)
    return {words for cell in first_cells for words in re.findall(r"`(.+?)`", cell)}


def test_every_quoted_message_stands_in_the_code():
    source = "\n".join(path.read_text("utf-8") for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    printed = quoted("printed")
    assert len(printed) > 10
    assert [message for message in printed if message not in source] == []


def test_every_reason_is_explained():
    assert quoted("reason") | {"error"} == set(get_args(Reason))
