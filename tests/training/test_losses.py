"""Losses against hand-computed values, slow oracles, and the direction of their gradients."""

import math

import pytest
import torch
from torch.nn import functional as F

from training.losses import (
    anchor_contrast_loss,
    caption_agreement_loss,
    distillation_loss,
    image_text_loss,
    shared_positives,
    variance_floor_loss,
    viewpoint_consistency_loss,
)

EAST, NORTH = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
ANCHORS = torch.stack([EAST, NORTH])
SCALE = torch.tensor(4.0)


def unit(*rows):
    return F.normalize(torch.tensor(rows), dim=1)


def drawn(rows, width=8, seed=0):
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=1)


def slow_image_text(images, texts, scale, positives):
    """Average log-softmax over each row's positives, with loops."""
    total = 0.0
    for left, right in ((images, texts), (texts, images)):
        for i in range(len(left)):
            logits = [scale * float(left[i] @ right[j]) for j in range(len(right))]
            log_sum = math.log(sum(math.exp(logit) for logit in logits))
            own = [logits[j] - log_sum for j in range(len(right)) if positives[i][j]]
            total -= sum(own) / len(own) / len(left)
    return total / 2


def test_image_text_is_the_two_way_cross_entropy():
    images, texts = drawn(5), drawn(5, seed=1)
    only_own = [[i == j for j in range(5)] for i in range(5)]
    assert image_text_loss(images, texts, SCALE).item() == pytest.approx(
        slow_image_text(images, texts, 4.0, only_own), abs=1e-6
    )


def test_shared_captions_and_objects_are_no_negatives():
    images, texts = drawn(4), drawn(4, seed=1)
    captions, objects = torch.tensor([7, 7, 8, 9]), torch.tensor([0, 1, 2, 2])
    positives = shared_positives(captions, objects, all_captions=captions, all_objects=objects)
    assert positives.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    found = image_text_loss(images, texts, SCALE, positives=positives)
    assert found.item() == pytest.approx(slow_image_text(images, texts, 4.0, positives.tolist()), abs=1e-6)


def test_where_nothing_is_shared_it_is_the_standard_loss():
    images, texts, apart = drawn(6), drawn(6, seed=1), torch.arange(6)
    positives = shared_positives(apart, apart, all_captions=apart, all_objects=apart)
    assert torch.allclose(
        image_text_loss(images, texts, SCALE, positives=positives), image_text_loss(images, texts, SCALE)
    )


def test_parts_of_a_batch_add_up_to_the_whole():
    images, texts = drawn(6), drawn(6, seed=1)
    parts = [
        image_text_loss(
            images[start : start + 3],
            texts[start : start + 3],
            SCALE,
            all_image_features=images,
            all_text_features=texts,
            own=torch.arange(start, start + 3),
        )
        for start in (0, 3)
    ]
    assert torch.allclose(sum(parts) / 2, image_text_loss(images, texts, SCALE))


@pytest.mark.parametrize(("hinge", "expected"), [("closing", 0.3), ("open", 0.5)])
def test_consistency_equals_the_hand_computed_hinge(hinge, expected):
    view = unit([3.0, 4.0])  # cos 0.6 to its anchor
    loss = viewpoint_consistency_loss(view, torch.tensor([0]), ANCHORS, margin=0.1, hinge=hinge)
    assert loss.item() == pytest.approx(expected)


def test_a_view_within_the_margin_is_left_alone_by_the_closing_hinge_only():
    for hinge, pulls in (("closing", False), ("open", True)):
        view = unit([0.9, 0.4]).requires_grad_()
        viewpoint_consistency_loss(view, torch.tensor([0]), ANCHORS, margin=0.3, hinge=hinge).backward()
        assert bool(view.grad.abs().sum() > 0) == pulls


def test_one_gradient_step_turns_the_view_towards_its_own_anchor():
    view = unit([3.0, 4.0]).requires_grad_()
    viewpoint_consistency_loss(view, torch.tensor([0]), ANCHORS, margin=0.0).backward()
    stepped = F.normalize(view - 0.1 * view.grad, dim=1)
    assert (stepped @ EAST).item() > 0.6


@pytest.mark.parametrize(
    "term",
    [
        lambda z, i, a, count: viewpoint_consistency_loss(z, i, a, margin=0.0, count=count),
        lambda z, i, a, count: anchor_contrast_loss(z, i, a, scale=4.0, count=count),
        lambda z, i, a, count: caption_agreement_loss(z, i, a, drawn(3, 2, 5), scale=4.0, count=count),
    ],
)
def test_terms_are_normalised_by_the_global_number_and_give_anchors_no_gradient(term):
    views, index = drawn(5, 2), torch.tensor([0, 1, 1, 0, 1])
    anchors = ANCHORS.clone().requires_grad_()
    whole = term(views, index, anchors, None)
    unequal = term(views[:1], index[:1], anchors, 5 / 2), term(views[1:], index[1:], anchors, 5 / 2)
    assert torch.allclose(sum(unequal) / 2, whole)
    nothing = term(views[:0].requires_grad_(), index[:0], anchors, None)
    nothing.backward()
    assert nothing.item() == 0
    assert anchors.grad is None


def test_anchor_contrast_equals_the_hand_computed_softmax():
    found = anchor_contrast_loss(unit([3.0, 4.0]), torch.tensor([0]), ANCHORS, scale=5.0)
    assert found.item() == pytest.approx(-math.log(math.exp(3) / (math.exp(3) + math.exp(4))))


def test_agreement_on_captions_is_a_kl_divergence():
    texts, view = torch.stack([EAST, NORTH]), unit([3.0, 4.0])
    own = math.exp(2) / (math.exp(2) + 1)
    seen = math.exp(1.2) / (math.exp(1.2) + math.exp(1.6))
    expected = own * math.log(own / seen) + (1 - own) * math.log((1 - own) / (1 - seen))
    found = caption_agreement_loss(view, torch.tensor([0]), ANCHORS, texts, scale=2.0)
    assert found.item() == pytest.approx(expected, abs=1e-6)
    same = caption_agreement_loss(EAST[None], torch.tensor([0]), ANCHORS, texts, scale=2.0)
    assert same.item() == pytest.approx(0, abs=1e-6)


def test_the_floor_spreads_what_has_collapsed_and_leaves_what_is_spread():
    assert variance_floor_loss(drawn(400, 16), floor=0.8).item() == pytest.approx(0, abs=0.02)
    collapsed = F.normalize(EAST + 0.01 * torch.randn(8, 2), dim=1).requires_grad_()
    before = variance_floor_loss(collapsed, floor=0.8)
    before.backward()
    assert 0.7 < before.item() <= 0.8
    stepped = F.normalize(collapsed - 0.1 * collapsed.grad, dim=1)
    assert variance_floor_loss(stepped, floor=0.8) < before
    assert variance_floor_loss(drawn(1), floor=0.8).item() == 0


def test_distillation_is_the_mean_distance_to_the_pretrained_features():
    assert distillation_loss(unit([3.0, 4.0], [0.0, 1.0]), ANCHORS).item() == pytest.approx(0.2)
