"""Pictures in other colours."""

import numpy as np
import pytest

from captions.tiny.labels import colour_shares
from captions.tiny.recolouring import recolour, turn_colours
from captions.tiny.vocabulary import COLOURS

RED, GREY = (200, 20, 20), (128, 128, 128)


def squares(colour: tuple[int, int, int], count: int = 200) -> np.ndarray:
    """(B, 8, 8, 4): a square of a colour on clear blue."""
    rgba = np.zeros((count, 8, 8, 4), np.uint8)
    rgba[..., :3] = (0, 0, 255)
    rgba[:, 2:6, 2:6] = (*colour, 255)
    return rgba


def names(rgba: np.ndarray) -> list[str]:
    return [COLOURS[index] for index in colour_shares(rgba).argmax(axis=1)]


def test_an_object_comes_in_every_colour_and_a_share_keeps_its_own():
    recoloured = recolour(squares(RED), 0.7, np.random.default_rng(0))
    named = names(recoloured)
    assert set(named) >= {"red", "green", "blue", "purple", "brown", "pink"}
    assert named.count("red") / len(named) == pytest.approx(0.3 + 0.7 / 8, abs=0.1)
    assert len({tuple(picture[4, 4]) for picture in recoloured}) > 150, "the light differs all the same"


def test_what_is_grey_stays_so_but_for_tints():
    named = names(recolour(squares(GREY), 1.0, np.random.default_rng(0)))
    assert np.mean([name in ("white", "grey", "black") for name in named]) > 0.5
    assert len(set(named)) > 6


def test_shape_and_what_cannot_be_seen_stay():
    before = squares(RED)
    after = recolour(before, 1.0, np.random.default_rng(0))
    assert np.array_equal(after[..., 3], before[..., 3])
    assert np.array_equal(after[:, :2], before[:, :2])
    assert (after[:, 2:6, 2:6] == after[:, 2:3, 2:3]).all(), "one colour gives one colour"


def test_equal_seeds_give_equal_pictures_and_the_argument_stays():
    before = squares(RED, 4)
    first, second = (recolour(before, 1.0, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(before, squares(RED, 4))


def test_turned_by_a_third_red_is_green_and_greys_stay():
    levels = np.array([[1, 0, 0], [0.4, 0.4, 0.4]], np.float32)
    np.testing.assert_allclose(turn_colours(levels, 120, 1.0), [[0, 1, 0], [0.4, 0.4, 0.4]], atol=1e-6)
    np.testing.assert_allclose(turn_colours(levels, 0, 0.0)[0], [1 / 3] * 3, atol=1e-6)
