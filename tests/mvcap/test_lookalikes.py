"""Near-duplicates are found by their portraits: all of them, and nothing else."""

import numpy as np
import pytest

from mvcap import lookalikes
from mvcap.lookalikes import LIMIT, PORTRAIT_SHAPE, first_lookalikes, portrait_distances


def portraits_of(count: int, *, seed: int = 0) -> np.ndarray:
    """Blurred noise of different brightness and extent, as unlike as objects are."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, 2, 2, 4)).repeat(4, axis=2).repeat(4, axis=3)
    return (coarse * rng.uniform(0.2, 1, (count, 1, 1, 1, 1))).astype(np.uint8)


def nudged(portraits: np.ndarray, by: float, *, seed: int = 1) -> np.ndarray:
    """Move each portrait by a distance, up to rounding."""
    noise = np.random.default_rng(seed).normal(size=portraits.shape)
    noise *= by / np.sqrt(np.square(noise).mean(axis=(1, 2, 3, 4), keepdims=True))
    covered = portraits[..., 3].mean(axis=(1, 2, 3)) / 255
    moved = portraits + noise * np.sqrt(covered)[:, None, None, None, None]
    return np.rint(np.clip(moved, 0, 255)).astype(np.uint8)


def slowly(portraits: np.ndarray, limit: float) -> list[int]:
    first = []
    for later in range(len(portraits)):
        distances = [portrait_distances(portraits[[later]], portraits[[one]])[0] for one in range(later)]
        first.append(next((one for one, distance in enumerate(distances) if distance <= limit), -1))
    return first


def test_the_distance_is_the_hand_computed_one():
    one = np.zeros((1, *PORTRAIT_SHAPE), dtype=np.uint8)
    one[..., 3] = 255  # all of the picture is covered
    other = one.copy()
    other[0, 0, ..., 0] = 40  # a quarter of one channel of four: 40² / 16 = 10²
    assert portrait_distances(one, other)[0] == pytest.approx(10)
    one[:, :, 4:] = other[:, :, 4:] = 0  # half of it covered, half of the difference left
    assert portrait_distances(one, other)[0] == pytest.approx(10)


def test_what_shows_nothing_is_like_nothing():
    nothing = np.zeros((2, *PORTRAIT_SHAPE), dtype=np.uint8)
    assert np.isinf(portrait_distances(nothing[:1], nothing[1:]))
    assert first_lookalikes(nothing).tolist() == [-1, -1]
    assert first_lookalikes(nothing[:0]).tolist() == []


@pytest.mark.parametrize("block", [3, 16, 2048])
def test_blocks_and_bounds_lose_no_pair(block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lookalikes, "BLOCK", block)
    originals = portraits_of(12)
    near, far = nudged(originals, 0.8 * LIMIT), nudged(originals, 1.3 * LIMIT, seed=2)
    portraits = np.concatenate([originals, near, far, nudged(near, 0.8 * LIMIT, seed=3)])
    portraits = portraits[np.random.default_rng(5).permutation(len(portraits))]
    found = first_lookalikes(portraits)
    assert found.tolist() == slowly(portraits, LIMIT)
    assert 12 <= (found >= 0).sum() < 36


def test_the_first_of_several_counts_and_objects_without_one_have_none_among_themselves():
    originals = portraits_of(6)
    portraits = np.concatenate([originals, originals, nudged(originals, 0.5 * LIMIT)])
    assert first_lookalikes(portraits).tolist() == [-1] * 6 + 2 * list(range(6))


def test_other_colours_make_another_object():
    originals = portraits_of(6)
    recoloured = originals.copy()
    recoloured[..., :3] = originals[..., [2, 0, 1]]
    assert set(first_lookalikes(np.concatenate([originals, recoloured]))) == {-1}
