"""The search for bad viewpoints, on fields of margins that are known."""

from math import cos, radians, sin

import numpy as np
import pytest

from render.cameras import hemisphere_viewpoints
from training.evaluation.viewpoint_search import Seen, look_at, search_worst


def direction(angles):
    azimuth, elevation = map(radians, angles)
    return np.array([cos(elevation) * cos(azimuth), cos(elevation) * sin(azimuth), sin(elevation)])


def valley(bottom, width_deg=25.0):
    """Return a field that falls from 1 to 0 within some degrees of a viewpoint."""

    def look(viewpoints):
        angles = [
            np.degrees(np.arccos(np.clip(direction(each) @ direction(bottom), -1, 1))) for each in viewpoints
        ]
        return [1 - float(np.exp(-((angle / width_deg) ** 2))) for angle in angles]

    return look


def random_viewpoints(count, seed=0):
    drawn = hemisphere_viewpoints(count, np.random.default_rng(seed))
    return [(view.azimuth_deg % 360, view.elevation_deg) for view in drawn]


@pytest.mark.parametrize("bottom", [(10.0, 5.0), (200.0, 88.0), (359.0, 45.0)])
def test_it_comes_nearer_to_the_bottom_than_as_many_random_viewpoints(bottom):
    found, control = [], []
    for seed in range(20):
        look, rng = valley(bottom), np.random.default_rng(seed)
        random = look_at(look, random_viewpoints(48, seed))
        searched = search_worst(look, random[:24], rounds=3, per_round=8, rng=rng)
        found.append(min(one.margin for one in [*random[:24], *searched]))
        control.append(min(one.margin for one in random))
    assert np.mean(found) < 0.4 * np.mean(control)


def test_it_stays_above_the_horizon_and_looks_as_often_as_it_is_told():
    asked = []

    def look(viewpoints):
        asked.extend(viewpoints)
        return [elevation / 90 for _, elevation in viewpoints]  # worst at the horizon

    begun = look_at(look, random_viewpoints(10))
    searched = search_worst(look, begun, rounds=4, per_round=6, rng=np.random.default_rng(0))
    assert (len(asked), len(searched)) == (34, 24)
    assert all(0 <= azimuth < 360 and 0 <= elevation <= 90 for azimuth, elevation in asked)
    assert min(one.angles[1] for one in searched) < 3


def test_pictures_that_show_too_little_are_neither_kept_nor_looked_near():
    def look(viewpoints):
        return [None if azimuth < 180 else 1.0 for azimuth, _ in viewpoints]

    begun = look_at(look, [(90.0, 10.0), (270.0, 10.0)])
    assert begun == [Seen((270.0, 10.0), 1.0)]
    searched = search_worst(look, begun, rounds=1, per_round=9, rng=np.random.default_rng(0))
    assert all(one.angles[0] >= 180 for one in searched)
    assert search_worst(look, [], rounds=3, per_round=8, rng=np.random.default_rng(0)) == []
