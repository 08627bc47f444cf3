"""Errors travel between processes, name the nearest valid name and carry their exit code."""

import pickle

import pytest

from mvcap import errors
from mvcap.errors import ConfigChangedError, ConfigError, MvcapError, UnknownNameError, did_you_mean


def subclasses(kind: type[MvcapError]) -> list[type[MvcapError]]:
    return [kind, *(inner for child in kind.__subclasses__() for inner in subclasses(child))]


SPECIAL = {
    ConfigError: ConfigError(["a: wrong", "b: wrong"]),
    UnknownNameError: UnknownNameError("recipe", "dmo", ["demo", "other"]),
    ConfigChangedError: ConfigChangedError("render", {"samples": (16, 32)}, "Set them back."),
}
OURS = [kind for kind in subclasses(MvcapError) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_from_a_worker(kind: type[MvcapError]):
    original = SPECIAL.get(kind) or kind("what happened")
    copy = pickle.loads(pickle.dumps(original))  # noqa: S301
    assert (type(copy), str(copy), vars(copy)) == (kind, str(original), vars(original))


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_the_drawing_at_the_top_of_the_module_holds_every_error(kind: type[MvcapError]):
    assert kind.__name__ in str(errors.__doc__)


def test_usage_errors_leave_with_2_and_others_with_1():
    codes = {kind: kind.exit_code for kind in OURS}
    usage = set(subclasses(errors.UsageError))
    assert all((code == 2) == (kind in usage) for kind, code in codes.items())
    assert {code for kind, code in codes.items() if kind not in usage} == {1}


def test_problems_are_counted_and_listed_a_line_each():
    assert str(SPECIAL[ConfigError]).splitlines()[0] == "2 problems in the configuration:"
    assert str(ConfigError(["a"])).splitlines() == ["1 problem in the configuration:", "  - a"]


def test_a_changed_configuration_shows_each_field_then_and_now():
    assert "  samples: 16 -> 32" in str(SPECIAL[ConfigChangedError]).splitlines()


def test_the_nearest_name_is_offered_only_where_it_is_near():
    assert did_you_mean("blendr", ["blender", "fake"]) == "; did you mean 'blender'?"
    assert did_you_mean("zzz", ["blender", "fake"]) == ""
    assert did_you_mean("", []) == ""
