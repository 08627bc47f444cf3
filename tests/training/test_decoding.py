"""Augmentation: bounded, and the same for the same seed."""

import numpy as np
import pytest
from PIL import Image

from training.dual_encoder import Preprocessing
from training.pictures.decoding import Augmentation, to_pixels

PREPROCESSING = Preprocessing(16, (0.5,) * 3, (0.5,) * 3, "bicubic", lambda image: image.resize((16, 16)))


@pytest.fixture
def picture():
    y, x = np.mgrid[0:64, 0:64]
    return Image.fromarray(np.stack([4 * x, 4 * y, 0 * x], axis=2).astype(np.uint8))


def augmented(picture, seed=0, **options):
    return to_pixels(picture, PREPROCESSING, Augmentation(**options), np.random.default_rng(seed))


def test_without_augmentation_it_is_the_models_own_way(picture):
    expected = np.asarray(PREPROCESSING.fit(picture)).transpose(2, 0, 1)
    assert np.array_equal(to_pixels(picture, PREPROCESSING), expected)


def test_the_same_seed_gives_the_same_pixels_and_another_others(picture):
    one, two = augmented(picture, smallest_crop=0.5), augmented(picture, smallest_crop=0.5)
    assert np.array_equal(one, two)
    assert one.shape == (3, 16, 16)
    assert not np.array_equal(one, augmented(picture, seed=1, smallest_crop=0.5))


def test_a_crop_keeps_at_least_its_share_of_the_picture(picture):
    for seed in range(20):
        red, green, _ = augmented(picture, seed, smallest_crop=0.6).astype(float)
        across = (red.max() - red.min()) / 252
        down = (green.max() - green.min()) / 252
        assert across * down > 0.45, "0.6 of the area, but for half a pixel at each side"


def test_a_whole_picture_is_only_resized(picture):
    red = augmented(picture, smallest_crop=1.0).astype(float)[0]
    assert red[8, 0] < 12
    assert red[8, -1] > 240


def test_a_turn_goes_to_either_side_and_leaves_black_corners(picture):
    white = Image.new("RGB", (64, 64), "white")
    corners = [augmented(white, seed, rotation_deg=45.0)[:, 0, 0].max() for seed in range(10)]
    assert min(corners) == 0


def test_a_shift_goes_to_every_side_and_no_farther(picture):
    white = Image.new("RGB", (64, 64), "white")
    edges = {"left": (0, slice(None), 0), "right": (0, slice(None), -1), "top": (0, 0), "bottom": (0, -1)}
    shifted = [augmented(white, seed, shift=0.25) for seed in range(20)]
    for edge, place in edges.items():
        assert min(pixels[place].max() for pixels in shifted) == 0, edge
    assert all(pixels[:, 6:-6, 6:-6].min() == 255 for pixels in shifted), "a quarter of 16 px is 4"


def test_a_window_is_a_part_of_the_picture_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (18, 24, 3), dtype=np.uint8)  # 18 is 8/7 of 16
    places = np.lib.stride_tricks.sliding_window_view(noise, (16, 16), (0, 1))  # (3, 9, 3, 16, 16)
    found = set()
    for seed in range(60):
        window = augmented(Image.fromarray(noise), seed, crop="window")
        (place,) = np.argwhere((places == window).all(axis=(2, 3, 4)))
        found.add(tuple(place))
    assert len(found) > 20, "of 27 places"


def test_a_window_in_a_larger_picture_shows_most_of_it(picture):
    pixels = augmented(picture, crop="window").astype(float)
    assert pixels[0, 8, -1] - pixels[0, 8, 0] > 0.8 * 252
