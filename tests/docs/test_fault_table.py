"""The table of faults in CONTRIBUTING.md is whole, and every test that it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
FAULTS = range(1, 41)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def fault_rows() -> dict[int, str]:
    """Return what stands beside each number of the table."""
    section = PAGE.read_text("utf-8").split("\n## What goes wrong\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| (\d+)(?: ★)? \| (.+) \|$", section, re.MULTILINE)
    assert len(found) == len(dict(found)), "a number stands twice"
    return {int(number): text for number, text in found}


ROWS = fault_rows()
TESTS = [(file, name) for text in ROWS.values() for file, name in NAMED.findall(text)]


def test_every_fault_has_a_row():
    assert list(ROWS) == list(FAULTS)


@pytest.mark.parametrize("number", FAULTS)
def test_every_row_names_a_test_or_says_that_there_is_none(number: int):
    fault, tests = ROWS[number].split(" | ")
    assert fault
    assert NAMED.search(tests) or tests.startswith("not tested: ")
    assert NAMED.sub("", tests).count("`") == 0, "what stands in code is no test by its form"


@pytest.mark.parametrize(("file", "name"), sorted(set(TESTS)))
def test_every_test_that_is_named_exists_and_may_run(file: str, name: str):
    path = ROOT / "tests" / file
    assert path.name.startswith("test_")
    assert name.startswith("test_")
    defined = [node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    (test,) = (node for node in defined if node.name == name)  # one: another of its name would replace it
    marks = [ast.unparse(decorator) for decorator in test.decorator_list]
    assert not any(
        mark.startswith(("pytest.mark.skip", "pytest.mark.xfail", "pytest.fixture")) for mark in marks
    )
