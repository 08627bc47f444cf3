"""Batches: every process has its part, pixels depend on row and step alone, loaders change nothing."""

import numpy as np
import pytest
import torch

from mvcap.errors import CorruptDatasetError
from training.batches import Pixels, TrainingBatches
from training.dual_encoder import Preprocessing
from training.loading import ahead
from training.pictures import EncodedPicture
from training.pictures.decoding import Augmentation
from training.sampler import ObjectSampler, PictureSampler

PREPROCESSING = Preprocessing(8, (0.5,) * 3, (0.25,) * 3, "bilinear", lambda image: image.resize((8, 8)))


@pytest.fixture
def batches(make_pictures):
    views, clean = make_pictures([5, 1, 7, 3]), make_pictures([1] * 6)

    def make(rank=0, processes=1):
        sampler = ObjectSampler(views.table.object_index, batch=8, views_per_object=2, seed=0)
        augmentation = Augmentation(0.5)
        return TrainingBatches(
            Pixels(views, PREPROCESSING, augmentation, 0),
            sampler,
            Pixels(clean, PREPROCESSING, augmentation, 1),
            PictureSampler(6, batch=4, seed=0),
            rank,
            processes,
        )

    return make


def test_two_processes_share_the_batch_of_one(batches):
    whole, halves = batches()[1], [batches(rank, 2)[1] for rank in (0, 1)]
    assert torch.equal(torch.cat([half.views for half in halves]), whole.views)
    assert torch.equal(torch.cat([half.clean for half in halves]), whole.clean)
    views = torch.cat([half.pixels[:4] for half in halves])
    clean = torch.cat([half.pixels[4:] for half in halves])
    assert torch.equal(torch.cat([views, clean]), whole.pixels)
    assert whole.pixels.dtype == torch.uint8


def test_a_picture_is_augmented_anew_at_every_step(batches):
    pixels = batches().views
    assert torch.equal(pixels.load([3], 5), pixels.load([3], 5))
    assert not torch.equal(pixels.load([3], 5), pixels.load([3], 6))


def test_loaders_give_the_same_in_the_same_order(batches):
    alone = [batch.pixels for batch in ahead(batches(), range(2), loaders=0, pin=False)]
    helped = [batch.pixels for batch in ahead(batches(), range(2), loaders=2, pin=False)]
    assert all(torch.equal(one, other) for one, other in zip(alone, helped, strict=True))


def test_pixels_are_normalised_as_the_model_wants():
    pixels = torch.tensor([[[[0]], [[128]], [[255]]]], dtype=torch.uint8)
    expected = (np.array([0, 128 / 255, 1]) - 0.5) / 0.25
    assert PREPROCESSING.normalise(pixels).flatten().tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_picture_that_does_not_decode_is_named(make_pictures):
    pictures = make_pictures([2])
    pictures.read = lambda rows: [EncodedPicture(b"broken") for _ in rows]
    with pytest.raises(CorruptDatasetError, match="object-0#1"):
        Pixels(pictures, PREPROCESSING).load([1])
