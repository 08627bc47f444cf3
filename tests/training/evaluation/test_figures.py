"""Figures against slow loops and hand-computed intervals."""

import numpy as np
import pytest

from training.evaluation.figures import clustered_difference, clustered_share, object_figures


def test_independent_pictures_have_the_usual_interval():
    values = np.array([1.0] * 30 + [0.0] * 10)
    share = clustered_share(values, np.arange(40))
    half = 1.959964 * np.sqrt(0.75 * 0.25 / 39)
    assert share.mean == 0.75
    assert (share.low, share.high) == pytest.approx((0.75 - half, 0.75 + half))


def test_views_that_say_the_same_count_once():
    once = clustered_share(np.array([1.0, 0, 1, 1]), np.arange(4))
    tenfold = clustered_share(np.repeat([1.0, 0, 1, 1], 10), np.repeat(np.arange(4), 10))
    naive = clustered_share(np.repeat([1.0, 0, 1, 1], 10), np.arange(40))
    assert tenfold == once
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        chance = rng.beta(2, 2, 60)  # objects differ, sizes too
        counts = rng.integers(1, 20, 60)
        owner = np.repeat(np.arange(60), counts)
        share = clustered_share((rng.random(len(owner)) < chance[owner]).astype(float), owner)
        covered += share.low <= 0.5 <= share.high
    assert 0.91 < covered / 400 < 0.98


def test_of_a_single_object_nothing_is_claimed_and_bounds_hold():
    assert clustered_share(np.array([1.0, 0]), np.array([3, 3])).to_json() == {
        "mean": 0.5,
        "low": 0,
        "high": 1,
    }
    assert clustered_share(np.ones(5), np.arange(5)).high == 1
    difference = clustered_difference(np.array([1.0, 1, 0]), np.array([0.0, 1, 1]), np.arange(3))
    assert difference.mean == 0
    assert -1 <= difference.low < 0 < difference.high <= 1


def test_paired_differences_are_narrower_than_the_two_apart():
    rng = np.random.default_rng(1)
    before = (rng.random(200) < 0.6).astype(float)
    after = np.where(rng.random(200) < 0.05, 1 - before, before)
    paired = clustered_difference(after, before, np.arange(200))
    alone = clustered_share(after, np.arange(200))
    assert paired.high - paired.low < 0.6 * (alone.high - alone.low)


def oracle(right, margin, answer, features, objects):
    always, worst, agree, within = [], [], [], 0.0
    kept = [o for o in np.unique(objects) if (objects == o).sum() > 1]
    for o in kept:
        mine = objects == o
        always.append(all(right[mine]))
        worst.append(min(margin[mine]))
        answers = answer[mine].tolist()
        agree.append(max(answers.count(a) for a in answers) / len(answers))
        within += ((features[mine] - features[mine].mean(axis=0)) ** 2).sum()
    chosen = features[np.isin(objects, kept)]
    total = ((chosen - chosen.mean(axis=0)) ** 2).sum()
    return len(kept), np.mean(always), np.mean(worst), np.mean(agree), within / total


def test_views_of_objects_are_compared_as_in_a_slow_loop():
    rng = np.random.default_rng(2)
    objects = np.repeat([7, 3, 9, 4, 1], [4, 1, 12, 2, 5])  # in any order, one with a single view
    features = rng.standard_normal((24, 6))
    arguments = (rng.random(24) < 0.8, rng.standard_normal(24), rng.integers(0, 3, 24), features, objects)
    found = object_figures(*arguments)
    expected = oracle(*arguments)
    assert (found.objects, found.always_right) == (expected[0], pytest.approx(expected[1]))
    assert (found.worst_margin, found.consistency, found.spread) == pytest.approx(expected[2:])


def test_spread_is_a_share_of_all_variance():
    objects = np.repeat([0, 1], 3)
    same = np.repeat([[0.0, 1], [1, 0]], 3, axis=0)
    none = (np.ones(6, bool), np.ones(6), np.zeros(6, int))
    assert object_figures(*none, same, objects).spread == pytest.approx(0)
    alike = np.tile([[0.0, 1], [1, 0], [1, 1]], (2, 1))
    assert object_figures(*none, alike, objects).spread == pytest.approx(1)
    assert object_figures(*none, same, np.arange(6)) is None
