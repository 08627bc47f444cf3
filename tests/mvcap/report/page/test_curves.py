"""Curves run where the values say, over round numbers."""

import pytest

from mvcap.report.page.curves import MOST_POINTS, draw_chart


def test_a_curve_spans_its_steps_and_round_values():
    chart = draw_chart("loss", {"loss": [(10, 3.7), (20, 0.4)]})
    assert [tick.label for tick in chart.values] == ["0", "1", "2", "3", "4"]
    assert [tick.label for tick in chart.steps] == ["0", "5", "10", "15", "20"]
    assert chart.curves[0].points == [(0.5, pytest.approx(3.7 / 4)), (1.0, pytest.approx(0.1))]
    assert (chart.curves[0].first, chart.curves[0].last) == ("3.7", "0.4")


def test_given_bounds_stay_and_steps_after_the_last_have_no_label():
    chart = draw_chart("agreement", {"one": [(3, 0.9)], "other": [(7, 0.95)]}, bounds=(0, 1))
    assert (chart.values[0].label, chart.values[-1].label) == ("0", "1")
    assert [curve.points for curve in chart.curves] == [[(3 / 7, 0.9)], [(1.0, 0.95)]]
    assert [tick.label for tick in chart.steps] == ["0", "2", "4", "6"]


def test_a_constant_has_room_above_and_below():
    [curve] = draw_chart("rate", {"rate": [(1, 0.2), (2, 0.2)]}).curves
    assert all(0.2 < y < 0.8 for _, y in curve.points)


def test_many_points_are_means_of_neighbours():
    points = [(step, float(step % 2)) for step in range(1, 4 * MOST_POINTS + 1)]
    chart = draw_chart("noise", {"noise": points})
    assert len(chart.curves[0].points) == MOST_POINTS
    assert all(y == pytest.approx(0.5) for _, y in chart.curves[0].points)
    assert (chart.averaged, chart.logged) == (True, 4 * MOST_POINTS)


def test_what_is_not_finite_is_left_out():
    chart = draw_chart("loss", {"loss": [(1, 1.0), (2, float("nan")), (3, 2.0)]})
    assert len(chart.curves[0].points) == 2
    assert draw_chart("loss", {"loss": [(1, float("inf"))]}) is None
