"""Loaders: what goes wrong in one is told as without it, and signals are not theirs."""

import os
import signal

import pytest
import torch

from mvcap.errors import CorruptDatasetError, InfrastructureError
from training.loading import ahead, dead_loaders_explained


class Items:
    def __init__(self, make):
        self._make = make

    def __getitem__(self, index):
        return self._make(index)


def broken(index):
    if index == 1:
        raise CorruptDatasetError("the picture chair#3 does not decode")
    return torch.tensor(index)


def killed(index):
    os.kill(os.getpid(), signal.SIGKILL)


def answers_to_signals(index):
    return [signal.getsignal(each) is not signal.SIG_IGN for each in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("loaders", [0, 1])
def test_an_error_of_ours_says_what_it_says_and_no_more(loaders):
    items = ahead(Items(broken), range(3), loaders=loaders, pin=False)
    assert next(items).item() == 0
    with pytest.raises(CorruptDatasetError) as caught:
        next(items)
    assert str(caught.value) == "the picture chair#3 does not decode"


def test_a_loader_that_was_killed_is_explained():
    items = ahead(Items(killed), range(3), loaders=1, pin=False)
    with pytest.raises(InfrastructureError, match="fewer loaders"), dead_loaders_explained():
        next(items)
    with pytest.raises(RuntimeError, match="a shape"), dead_loaders_explained():
        raise RuntimeError("a shape does not fit")


def test_signals_to_the_group_are_left_to_the_parent():
    assert next(ahead(Items(answers_to_signals), range(1), loaders=1, pin=False)) == [False, False]
