"""Each flaw in a picture made for it, and pictures that must pass."""

import numpy as np
import pytest

from mvcap.errors import BAD_VIEWS, EMPTY_RENDER
from render.image_checks import REASONS, burnt_out_share, find_flaw, foreground_fraction


def disc(colour: tuple[int, int, int], radius: int = 40) -> np.ndarray:
    """A plain disc in the middle of a transparent picture, (100, 100, 4)."""
    y, x = np.mgrid[:100, :100] - 50
    rgba = np.zeros((100, 100, 4), dtype=np.uint8)
    rgba[x**2 + y**2 <= radius**2] = (*colour, 255)
    return rgba


def test_coverage_is_the_mean_alpha():
    rgba = np.zeros((10, 10, 4), dtype=np.uint8)
    rgba[:5, :, 3] = 51  # half of the picture at a fifth
    assert foreground_fraction(rgba) == pytest.approx(0.1)


def test_an_empty_picture_is_blank():
    assert find_flaw(np.zeros((64, 64, 4), dtype=np.uint8)) == "blank"


def test_a_speck_is_blank_and_a_thin_pole_is_not():
    assert find_flaw(disc((200, 0, 0), radius=1)) == "blank"
    pole = np.zeros((100, 100, 4), dtype=np.uint8)
    pole[10:90, 50] = (90, 90, 90, 255)
    assert find_flaw(pole) is None


def test_a_picture_without_any_light_is_black_and_a_black_chair_is_not():
    assert find_flaw(disc((5, 5, 6))) == "black"
    assert find_flaw(disc((35, 35, 36))) is None


def test_a_burnt_out_object_is_found_and_a_white_one_is_not():
    assert find_flaw(disc((255, 255, 255))) == "burnt"
    assert find_flaw(disc((240, 240, 240))) is None
    assert find_flaw(disc((255, 255, 0))) is None


def test_burnt_share_counts_only_the_object():
    rgba = disc((100, 100, 100))
    rgba[:, :50][rgba[:, :50, 3] == 255] = 255
    assert burnt_out_share(rgba) == pytest.approx(0.5, abs=0.02)
    assert burnt_out_share(np.zeros((4, 4, 4), dtype=np.uint8)) == 0


def test_nothing_to_see_and_badly_lit_are_different_reasons():
    assert REASONS == {"blank": EMPTY_RENDER, "black": BAD_VIEWS, "burnt": BAD_VIEWS}
