"""Evaluating another set loses nothing that was measured."""

import json

import pytest

from mvcap.errors import OutputError
from training.evaluation.earlier import joined, read_earlier

FACTS = {"model": {"size": (3, 4)}, "run": "r", "step": 5, "interpolate": 1.0, "templates": "plain"}


def told(*names, **more):
    return {**FACTS, "sets": [{"name": name, "top1": 0.5} for name in names], **more}


def test_other_sets_stay_and_the_same_one_is_replaced():
    again = {**FACTS, "sets": [{"name": "b", "top1": 0.9}, {"name": "c", "top1": 0.1}]}
    assert [(each["name"], each["top1"]) for each in joined(told("a", "b"), again)["sets"]] == [
        ("a", 0.5),
        ("b", 0.9),
        ("c", 0.1),
    ]
    assert joined(None, again) == again


def test_a_suites_averages_stay_until_one_of_its_sets_changes():
    suite = told("a", suite="ovt", groups=[{"name": "odd", "sets": ["a"]}], gaps=[])
    assert joined(suite, told("b"))["suite"] == "ovt"
    assert "suite" not in joined(suite, told("a"))


def test_results_of_something_else_are_neither_lost_nor_mixed(tmp_path):
    assert read_earlier(tmp_path, FACTS) is None
    (tmp_path / "results.json").write_text(json.dumps(told("a")))
    assert read_earlier(tmp_path, FACTS)["sets"][0]["name"] == "a"
    for key, value in {"step": 9, "interpolate": 0.7, "templates": "openai", "model": {}}.items():
        with pytest.raises(OutputError, match=rf"{key} .* there, .* now.*--out"):
            read_earlier(tmp_path, {**FACTS, key: value})
