"""One is no plural."""

import pytest

from mvcap.quantities import by_number, duration, quantity


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 views"), (1, "1 view"), (2, "2 views"), (12345, "12,345 views")]
)
def test_a_number_decides_the_noun(number, told):
    assert quantity(number, "view") == told


def test_plurals_that_are_no_s_are_given():
    assert quantity(2, "class", "classes") == "2 classes"
    assert [by_number(number, "is", "are") for number in (0, 1, 2)] == ["are", "is", "are"]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        *((0, "0 s"), (0.0028, "0.0028 s"), (9.2, "9.2 s"), (41, "41 s"), (700, "12 min")),
        *((12_600, "3.5 h"), (480 * 3600, "480 h"), (4e7, "11,111 h")),
    ],
)
def test_a_time_has_the_unit_that_people_would_take(seconds, told):
    assert duration(seconds) == told
