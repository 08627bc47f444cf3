"""The pages that repeat what the code says repeat what it says now."""

import re
import runpy
from pathlib import Path

import pyarrow as pa
import pytest

from mvcap import schema

DOCS = Path(__file__).parents[2] / "docs"
TABLES = {
    "Views": schema.VIEW_COLUMNS,
    "Objects": schema.OBJECT_COLUMNS,
    "Failures": schema.FAILURE_COLUMNS,
    "Scores": schema.SCORE_COLUMNS,
}
SPELLED = {"float": "float32", "double": "float64"}


def spelled(kind: pa.DataType) -> str:
    if kind == schema.IMAGE:
        return "picture"
    if pa.types.is_list(kind):
        return f"list of {spelled(kind.value_type)}"
    return SPELLED.get(str(kind), str(kind))


@pytest.mark.parametrize("heading", TABLES)
def test_the_format_page_lists_every_column_with_its_type_in_order(heading):
    page = (DOCS / "dataset-format.md").read_text("utf-8")
    section = page.split(f"## {heading}: ")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert [row[:2] for row in rows] == [(column.name, spelled(column.type)) for column in TABLES[heading]]
    assert all(meaning.strip() for *_, meaning in rows)


def test_the_format_page_names_the_schema_version():
    page = (DOCS / "dataset-format.md").read_text("utf-8")
    assert f"`mvcap_schema = {schema.SCHEMA_VERSION}`" in page


def test_the_picture_of_the_cameras_is_what_the_code_draws():
    drawn = runpy.run_path(str(DOCS / "draw_cameras.py"))["draw"]()
    assert (DOCS / "cameras.svg").read_text("utf-8").strip() == drawn.strip()
