"""Each flaw in a picture made for it, and pictures that must pass."""

import numpy as np
import pytest

from mvcap.errors import BAD_VIEWS, EMPTY_RENDER
from mvcap.records import AssetFacts
from render.image_checks import (
    REASONS,
    burnt_out_share,
    find_flags,
    find_flaw,
    foreground_fraction,
    judge_picture,
)


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


def with_patch(colour: tuple[int, int, int], share: float) -> np.ndarray:
    """A grey square of 60 x 60 pixels in the middle, its upper share of another colour."""
    rgba = np.zeros((100, 100, 4), dtype=np.uint8)
    rgba[20:80, 20:80] = (120, 110, 100, 255)
    rgba[20 : 20 + round(60 * share), 20:80, :3] = colour
    return rgba


def test_an_ordinary_picture_has_no_flag():
    assert find_flags(disc((120, 110, 100))) == ()
    assert find_flags(with_patch((255, 255, 0), 0.9)) == ()  # bright yellow keeps its blue


def test_a_tenth_burnt_out_is_over_exposed_and_a_fortieth_is_a_highlight():
    assert find_flags(with_patch((255, 254, 255), 0.1)) == ("over_exposed",)
    assert find_flags(with_patch((255, 255, 255), 0.025)) == ()


def test_mostly_black_is_under_exposed_and_a_black_hat_is_not():
    assert find_flags(with_patch((11, 5, 0), 0.6)) == ("under_exposed",)
    assert find_flags(with_patch((0, 0, 0), 0.3)) == ()


def test_a_subject_of_less_than_a_patch_is_tiny():
    # Radius 7 covers 149 of 10000 pixels, radius 9 covers 253; a patch of 7 x 7 is 204.
    assert find_flags(disc((120, 110, 100), radius=7)) == ("tiny_subject",)
    assert find_flags(disc((120, 110, 100), radius=9)) == ()


@pytest.mark.parametrize("rim", [np.s_[0, 50], np.s_[-1, 50], np.s_[50, 0], np.s_[50, -1]])
def test_an_object_on_any_rim_is_clipped_and_a_soft_edge_is_not(rim):
    rgba = disc((120, 110, 100))
    rgba[rim] = (120, 110, 100, 100)
    assert find_flags(rgba) == ()
    rgba[rim] = (120, 110, 100, 255)
    assert find_flags(rgba) == ("clipped",)


@pytest.mark.parametrize(
    ("textures", "missing", "coloured", "flags"),
    [
        (0, (), False, ("untextured",)),  # a scan without a colour
        (0, ("a.png",), True, ("untextured",)),  # everything it had is lost
        (1, ("a.png",), True, ()),
        (0, (), True, ()),  # coloured by its materials
    ],
)
def test_an_object_is_untextured_that_lost_its_textures_or_never_had_a_colour(
    textures, missing, coloured, flags
):
    facts = AssetFacts(12, 8, 0, 0, textures, missing, coloured)
    assert find_flags(disc((120, 110, 100)), facts) == flags
    assert not judge_picture(disc((120, 110, 100)), facts).is_bad


def test_several_flags_are_told_together_and_an_empty_picture_is_only_tiny():
    corner = np.zeros((100, 100, 4), dtype=np.uint8)
    assert find_flags(corner) == ("tiny_subject",)
    corner[:5, :5] = 255
    assert find_flags(corner) == ("over_exposed", "tiny_subject", "clipped")
