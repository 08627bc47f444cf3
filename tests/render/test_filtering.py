"""Sub-pixels become pixels as Cycles' own filter would make them."""

import numpy as np
import pytest

from render.filtering import develop, filter_taps, srgb


def constant(colour: tuple[float, ...], size: int) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.float32), (size, size, 4)).copy()


@pytest.mark.parametrize("oversampling", [1, 2, 3, 4])
def test_weights_add_up_to_one_and_are_symmetrical(oversampling):
    taps = filter_taps(oversampling, 1.5)
    assert sum(taps) == pytest.approx(1)
    assert taps == pytest.approx(taps[::-1])
    assert (len(taps) - oversampling) % 2 == 0


def test_the_filter_reaches_one_and_a_half_pixels_to_either_side():
    assert len(filter_taps(4, 1.5)) == 3 * 4


def test_a_weight_is_the_window_averaged_over_the_sub_pixel():
    x = (np.arange(60_000) + 0.5) / 60_000 * 3 - 1.5  # the whole support, in pixels
    phase = 2 * np.pi * (x / 3 + 0.5)
    window = 0.35875 - 0.48829 * np.cos(phase) + 0.14128 * np.cos(2 * phase) - 0.01168 * np.cos(3 * phase)
    shares = window.reshape(6, -1).mean(axis=1)  # six half-pixels
    assert filter_taps(2, 1.5) == pytest.approx(shares / shares.sum(), rel=1e-3)


def test_a_plain_colour_stays_itself_away_from_the_edge():
    picture = develop(constant((0.5, 0.25, 1.0, 1.0), 16), oversampling=2, filter_width_px=1.5)
    assert picture.shape == (8, 8, 4)
    assert picture[4, 4].tolist() == [188, 137, 255, 255]  # sRGB of 0.5 and 0.25


def test_half_covered_pixels_keep_their_colour_and_halve_their_alpha():
    linear = constant((0.0, 0.0, 0.0, 0.0), 16)
    linear[:, :8] = (1.0, 0.0, 0.0, 1.0)
    picture = develop(linear, oversampling=2, filter_width_px=1.5)
    assert picture[4, 3:5, 3].sum() == pytest.approx(255, abs=1)
    assert picture[4, 3, :3].tolist() == picture[4, 4, :3].tolist() == [255, 0, 0]


def test_what_is_brighter_than_white_is_filtered_before_it_is_cut():
    linear = constant((0.0, 0.0, 0.0, 1.0), 16)
    linear[8, 8] = (100.0, 100.0, 100.0, 1.0)
    assert develop(linear, oversampling=2, filter_width_px=1.5)[4, 4, 0] == 255


def test_srgb_knows_its_fixed_points():
    assert srgb(np.array([0.0, 0.0031308, 1.0, 7.0], np.float32)) == pytest.approx(
        [0, 0.04045, 1, 1], abs=1e-4
    )
