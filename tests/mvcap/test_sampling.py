import numpy as np
import pytest

from mvcap.sampling import spread_by_direction, spread_by_time


def ring(count: int) -> np.ndarray:
    turns = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(turns), np.sin(turns), np.zeros(count)], axis=1)


def widest_gap(directions: np.ndarray, chosen: list[int]) -> float:
    """Largest angle from any direction to its nearest chosen one, in degrees."""
    cosines = np.clip(directions @ directions[chosen].T, -1, 1).max(axis=1)
    return float(np.degrees(np.arccos(cosines.min())))


def test_four_of_a_ring_are_its_quarters():
    first, *others = spread_by_direction(ring(36), 4)
    assert [index - first for index in others] == [9, 18, 27]


@pytest.mark.parametrize("seed", range(5))
def test_no_direction_is_more_than_twice_as_far_as_with_the_best_choice(seed):
    directions = np.random.default_rng(seed).normal(size=(12, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    chosen = spread_by_direction(directions, 3)
    best = min(widest_gap(directions, [a, b, c]) for a in range(12) for b in range(a) for c in range(b))
    assert widest_gap(directions, chosen) <= 2 * best + 1e-6


def test_views_bunched_in_one_place_do_not_crowd_out_the_others():
    bunch = np.repeat(ring(36)[:1], 50, axis=0)
    chosen = spread_by_direction(np.concatenate([bunch, ring(36)[9::9]]), 4)
    assert [index for index in chosen if index >= 50] == [50, 51, 52]


def test_the_choice_turns_with_the_directions():
    rng = np.random.default_rng(3)
    directions = rng.normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert spread_by_direction(directions @ rotation, 7) == spread_by_direction(directions, 7)


@pytest.mark.parametrize("count", [5, 6, 100])
def test_all_are_kept_where_there_are_no_more(count):
    assert spread_by_direction(ring(5), count) == spread_by_time(5, count) == [0, 1, 2, 3, 4]


def test_equal_directions_give_different_indices():
    assert spread_by_direction(np.repeat(ring(4)[:1], 6, axis=0), 3) == [0, 1, 2]


@pytest.mark.parametrize(
    ("length", "count", "kept"),
    [(9, 3, [0, 4, 8]), (31, 4, [0, 10, 20, 30]), (7, 1, [0]), (7, 0, []), (4, 2, [0, 3])],
)
def test_frames_at_equal_intervals_include_both_ends(length, count, kept):
    assert spread_by_time(length, count) == kept
