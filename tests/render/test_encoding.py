"""Backgrounds and files."""

import io

import numpy as np
import pytest
from PIL import Image

from render.encoding import ImageEncoder, composite, plain_colour

RGBA = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 128]]], dtype=np.uint8)


def decode(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def test_compositing_equals_the_hand_computed_colours():
    # Half: (200 * 128 + 16 * 127) / 255 = 108.4, (100 * 128 + 32 * 127) / 255 = 66.1, 48 * 127 / 255 = 23.9
    expected = [[[200, 100, 0], [16, 32, 48], [108, 66, 24]]]
    assert composite(RGBA, plain_colour("#102030")).tolist() == expected


def test_a_picture_may_stand_behind_instead_of_the_colour():
    behind = np.array([[[1, 2, 3], [4, 5, 6], [16, 32, 48]]], dtype=np.uint8)
    stored = ImageEncoder("png", 95, "#ffffff", keep_alpha=False).encode(RGBA, behind)
    assert decode(stored).tolist() == [[[200, 100, 0], [4, 5, 6], [108, 66, 24]]]


def test_png_keeps_alpha_or_composites():
    kept = ImageEncoder("png", 95, "#ffffff", keep_alpha=True)
    assert (decode(kept.encode(RGBA)) == RGBA).all()
    flat = ImageEncoder("png", 95, "#ffffff", keep_alpha=False)
    assert (decode(flat.encode(RGBA)) == composite(RGBA, plain_colour("#ffffff"))).all()


def test_a_jpeg_keeps_full_chroma_and_its_quality():
    rgba = np.full((32, 32, 4), 255, dtype=np.uint8)
    rgba[:, ::2, :3] = (255, 0, 0)  # one-pixel stripes, which subsampled chroma would blur
    data = ImageEncoder("jpeg", 95, "#ffffff", keep_alpha=False).encode(rgba)
    assert data[:2] == b"\xff\xd8"
    assert np.abs(decode(data).astype(int) - rgba[..., :3]).max() < 25


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_the_same_pixels_give_the_same_bytes(image_format):
    rgba = np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8)
    encoder = ImageEncoder(image_format, 95, "#808080", keep_alpha=False)
    assert encoder.encode(rgba) == encoder.encode(rgba.copy())
