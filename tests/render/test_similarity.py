"""The similarity index agrees with scikit-image's."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity as by_scikit_image

from render.similarity import structural_similarity


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_equal_pictures_have_one():
    assert structural_similarity(noise(0), noise(0)) == pytest.approx(1)


@pytest.mark.parametrize("strength", [0.02, 0.3, 1.0])
def test_it_equals_the_reference_implementation(strength):
    first = noise(0)
    second = (first * (1 - strength) + noise(1) * strength).astype(np.uint8)
    expected = by_scikit_image(first, second, channel_axis=2, data_range=255)
    assert structural_similarity(first, second) == pytest.approx(expected, abs=0.002)
