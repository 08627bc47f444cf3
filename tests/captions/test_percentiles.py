"""Percentiles within like views: unusual views are compared with unusual ones."""

import pytest

from captions.percentiles import ScoreGroups, elevation_bin


@pytest.mark.parametrize(
    ("elevation_deg", "name"),
    [
        *((0.0, "0 to 30"), (29.99, "0 to 30"), (30.0, "30 to 60"), (60.0, "60 to 90"), (90.0, "60 to 90")),
        *((-0.5, "-30 to 0"), (None, "unknown")),
    ],
)
def test_bins_are_thirty_degrees_wide_and_the_top_belongs_to_the_last(elevation_deg, name):
    assert elevation_bin(elevation_deg) == name


def test_a_percentile_is_the_share_below_with_ties_counted_half():
    groups = ScoreGroups()
    for score in (0.125, 0.25, 0.25, 0.5):
        groups.add("chair", 10.0, score)
    percentiles = [groups.percentile("chair", 20.0, score) for score in (0.125, 0.25, 0.5)]
    assert percentiles == [100 * 0.5 / 4, 100 * (1 + 1) / 4, 100 * 3.5 / 4]


def test_views_from_above_are_not_measured_against_views_from_the_front():
    groups = ScoreGroups()
    for elevation_deg, scores in ((5.0, (0.5, 0.75)), (80.0, (0.125, 0.25))):
        for score in scores:
            groups.add("chair", elevation_deg, score)
    groups.add("bed", 80.0, 0.0625)
    assert groups.percentile("chair", 80.0, 0.25) == groups.percentile("chair", 5.0, 0.75) == 75
    assert groups.percentile("bed", 80.0, 0.0625) == 50, "alone, it is in the middle"
    assert groups.medians() == {"0 to 30": 0.625, "60 to 90": 0.125}


def test_a_score_added_later_counts():
    groups = ScoreGroups()
    groups.add("chair", 5.0, 0.5)
    assert groups.percentile("chair", 5.0, 0.5) == 50
    groups.add("chair", 5.0, 0.25)
    assert groups.percentile("chair", 5.0, 0.5) == 75


def test_without_scores_there_is_nothing():
    assert not ScoreGroups()
    assert ScoreGroups().medians() == {}
