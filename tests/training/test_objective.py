"""The terms of a step: which rows each is about, and towards which anchors."""

import pytest
import torch
from torch.nn import functional as F

from training.anchors import maximise
from training.config import AnchorsConfig, LossConfig
from training.distributed import World
from training.losses import (
    anchor_contrast_loss,
    image_text_loss,
    shared_positives,
    viewpoint_consistency_loss,
)
from training.objective import Objective, Rows

WIDTH, SCALE = 6, torch.tensor(10.0)


def unit(rows, seed):
    return F.normalize(torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.fixture
def rows():
    """Five views of the objects 4, 9 and 2, one without a caption, and two clean pictures."""
    return Rows(
        objects=torch.tensor([4, 9, 9, 4, 2, 100, 101]),
        captions=torch.tensor([0, 1, -1, 0, 2, 3, 3]),
        is_view=torch.tensor([1, 1, 1, 1, 1, 0, 0]).bool(),
        outliers=torch.tensor([0, 1, 0, 1, 0, 0, 0]).bool(),
    )


FEATURES, TEXTS, TABLE = unit(7, 0), unit(7, 1), unit(10, 2)


def parts(rows, anchors=None, settings=None, **loss):
    loss = {"consistency": {"weight": 0}, **loss}
    objective = Objective(LossConfig.model_validate(loss), AnchorsConfig(**(settings or {})), World())
    return objective(FEATURES, TEXTS, rows, SCALE, anchors=anchors, pretrained=unit(7, 9))


def look_up(objects):
    return TABLE[objects]


def test_views_without_a_caption_stay_out_of_the_contrast(rows):
    kept = [0, 1, 3, 4, 5, 6]
    plain = image_text_loss(FEATURES[kept], TEXTS[kept], SCALE)
    assert parts(rows, multi_positive=False).values["image_text"] == pytest.approx(plain.item(), abs=1e-6)
    positives = shared_positives(
        rows.captions[kept],
        rows.objects[kept],
        all_captions=rows.captions[kept],
        all_objects=rows.objects[kept],
    )
    shared = image_text_loss(FEATURES[kept], TEXTS[kept], SCALE, positives=positives)
    assert parts(rows).values["image_text"] == pytest.approx(shared.item(), abs=1e-6)
    assert not torch.isclose(plain, shared)


@pytest.mark.parametrize(
    ("views", "chosen"), [("outliers", [1, 3]), ("uncaptioned", [2]), ("all", [0, 1, 2, 3, 4])]
)
def test_the_pull_is_on_the_chosen_views_towards_their_own_anchor(rows, views, chosen):
    found = parts(
        rows, look_up, {"of": "captioned"}, consistency={"weight": 0.5, "views": views, "margin": 0.1}
    )
    expected = viewpoint_consistency_loss(FEATURES[chosen], rows.objects[chosen], TABLE, margin=0.1)
    assert found.values["consistency"] == pytest.approx(expected.item(), abs=1e-6)
    assert found.value == pytest.approx(float(found.values["image_text"]) + 0.5 * expected.item(), abs=1e-5)


def test_contrast_is_over_the_anchors_of_the_batch_and_shuffled_ones_are_others(rows):
    contrast = {"weight": 1.0, "views": "outliers", "scale": 5.0}
    found = parts(rows, look_up, anchor_contrast=contrast).values["anchor_contrast"]
    of_batch = TABLE[[2, 4, 9]]
    expected = anchor_contrast_loss(FEATURES[[1, 3]], torch.tensor([2, 1]), of_batch, scale=5.0)
    assert found == pytest.approx(expected.item(), abs=1e-6)
    shuffled = parts(rows, look_up, {"shuffled": True}, anchor_contrast=contrast).values["anchor_contrast"]
    expected = anchor_contrast_loss(FEATURES[[1, 3]], torch.tensor([1, 0]), of_batch, scale=5.0)
    assert shuffled == pytest.approx(expected.item(), abs=1e-6)


def test_anchors_may_be_made_of_the_batch_itself(rows):
    settings = {"source": "batch", "of": "captioned", "outliers_per_object": 1}
    found = parts(rows, None, settings, consistency={"weight": 1.0, "views": "all", "margin": 0.0})
    ordered = [4, 0, 3, 1, 2]  # objects 2, 4, 4, 9, 9
    made = maximise(
        FEATURES[ordered],
        torch.tensor([1, 2, 2]),
        outliers_per_object=1,
        eligible=torch.tensor([1, 1, 1, 1, 0]).bool(),
    )
    expected = viewpoint_consistency_loss(
        FEATURES[ordered], torch.tensor([0, 1, 1, 2, 2]), made.anchors, margin=0.0
    )
    assert found.values["consistency"] == pytest.approx(expected.item(), abs=1e-6)
    pulled = parts(rows, None, settings, consistency={"weight": 1.0, "views": "outliers", "margin": 0.0})
    chosen = made.outliers.nonzero().flatten()
    expected = viewpoint_consistency_loss(
        FEATURES[ordered][chosen], torch.tensor([0, 1, 1, 2, 2])[chosen], made.anchors, margin=0.0
    )
    assert pulled.values["consistency"] == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize(("pictures", "chosen"), [("clean", [5, 6]), ("all", list(range(7)))])
def test_distillation_is_on_the_chosen_pictures(rows, pictures, chosen):
    found = parts(rows, distillation={"weight": 2.0, "pictures": pictures}).values["distillation"]
    expected = (1 - (FEATURES * unit(7, 9)).sum(dim=1))[chosen].mean()
    assert found == pytest.approx(expected.item(), abs=1e-6)


def test_a_batch_without_captions_or_outliers_still_has_a_gradient(rows):
    bare = Rows(rows.objects, torch.full((7,), -1), rows.is_view, torch.zeros(7, dtype=torch.bool))
    features = FEATURES.clone().requires_grad_()
    loss = LossConfig.model_validate({"consistency": {"weight": 1.0}})
    found = Objective(loss, AnchorsConfig(), World())(features, TEXTS, bare, SCALE, anchors=look_up)
    found.total.backward()
    assert found.value == 0
    assert features.grad.abs().sum() == 0
