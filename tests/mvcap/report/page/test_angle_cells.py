"""Tables of accuracy by angle, turned for people and subtracted."""

import pytest

from mvcap.report.page.angle_cells import angle_differences, angle_rows, azimuth_edges


def angles(accuracy, pictures):
    return {
        **{"azimuth_step_deg": 180, "elevation_step_deg": 45, "lowest_elevation_deg": 0},
        "accuracy": accuracy,
        "pictures": pictures,
    }


AFTER = angles([[0.5, None], [1.0, 0.25]], [[4, 0], [5, 8]])


def test_the_highest_band_comes_first_and_small_cells_are_marked():
    high, low = angle_rows(AFTER)
    assert (high.elevation, low.elevation) == ("45–90°", "0–45°")
    assert [(cell.share, cell.few) for cell in high.cells] == [(1.0, False), (0.25, False)]
    assert (low.cells[0].few, low.cells[1]) == (True, None)
    assert azimuth_edges(AFTER) == ["0°", "180°"]


def test_a_difference_needs_the_same_pictures():
    before = angles([[0.75, None], [0.5, 0.5]], AFTER["pictures"])
    high, low = angle_differences(AFTER, before)
    assert [cell.share for cell in high.cells] == [pytest.approx(0.5), pytest.approx(-0.25)]
    assert low.cells[0].share == pytest.approx(-0.25)
    assert angle_differences(AFTER, angles(before["accuracy"], [[4, 0], [5, 9]])) is None
