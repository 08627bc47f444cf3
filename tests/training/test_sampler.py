"""Batches: every view once an epoch, views of an object together, the same whenever they are asked for."""

import numpy as np
import pytest

from mvcap.errors import UsageError
from training.sampler import ObjectSampler, PictureSampler

COUNTS = [1, 130, 12, 2, 40, 12, 3]  # one view, and more than a hundred
OWNER = np.repeat(np.arange(len(COUNTS)), COUNTS).astype(np.int32)


def sampler(batch=16, views=4, seed=0):
    return ObjectSampler(OWNER, batch=batch, views_per_object=views, seed=seed)


def epoch(sampled, number=0):
    first = number * sampled.batches_per_epoch
    return [sampled.rows(first + index) for index in range(sampled.batches_per_epoch)]


def test_every_view_is_seen_once_an_epoch_but_for_the_rest():
    batches = epoch(sampler())
    rows = np.concatenate(batches)
    assert len(batches) == len(OWNER) // 16
    assert len(set(rows.tolist())) == len(rows) == 16 * len(batches)


def test_objects_bring_several_views_into_a_batch():
    grouped = np.mean([len(set(OWNER[rows])) for rows in epoch(sampler(views=4))])
    single = np.mean([len(set(OWNER[rows])) for rows in epoch(sampler(views=1))])
    assert grouped < single
    for rows in epoch(sampler(batch=200, views=4)):
        runs = np.flatnonzero(np.diff(OWNER[rows])) + 1
        lengths = np.diff([0, *runs, len(rows)])
        assert np.isin(lengths[1:-1] % 4, [0, 1, 2, 3]).all()
        assert (lengths[1:-1] >= 1).all()


def test_groups_hold_as_many_views_as_asked_or_all_that_are_left():
    rows = ObjectSampler(OWNER, batch=len(OWNER), views_per_object=5, seed=3).rows(0)
    groups: dict[int, list[int]] = {}
    runs = np.split(rows, np.flatnonzero(np.diff(OWNER[rows])) + 1)
    for run in runs:
        groups.setdefault(int(OWNER[run[0]]), []).append(len(run))
    for owner, lengths in groups.items():
        assert sum(lengths) == COUNTS[owner]
        full, rest = divmod(COUNTS[owner], 5)
        assert sum(length % 5 for length in lengths) == rest, (
            "runs are groups of five, and one that is shorter"
        )
        assert max(lengths) >= min(5, COUNTS[owner])
        assert len(lengths) <= full + (rest > 0)


def test_a_step_has_the_same_views_whatever_was_asked_before_and_epochs_differ():
    one, two = sampler(), sampler()
    later = 2 * one.batches_per_epoch + 1
    for step in range(later):
        one.rows(step)
    assert one.rows(later).tolist() == two.rows(later).tolist()
    assert two.rows(0).tolist() != two.rows(two.batches_per_epoch).tolist()
    assert two.rows(0).tolist() != sampler(seed=1).rows(0).tolist()


def test_fewer_views_than_a_batch_are_an_error_that_says_what_to_do():
    with pytest.raises(UsageError, match=r"200 views.*data\.batch=201"):
        sampler(batch=201)


def test_clean_pictures_go_round_for_ever():
    sampled = PictureSampler(10, batch=4, seed=0)
    rows = np.concatenate([sampled.rows(step) for step in range(5)])
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
    assert PictureSampler(10, batch=4, seed=0).rows(3).tolist() == rows[12:16].tolist()
    assert PictureSampler(3, batch=7, seed=0).rows(0).shape == (7,)
