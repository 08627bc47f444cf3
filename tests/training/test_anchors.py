"""Anchors and outliers against slow loops, over ragged objects."""

import pytest
import torch
from torch.nn import functional as F

from training import anchors as anchors_module
from training.anchors import CLOSEST, maximise


def oracle(features, counts, *, outliers_per_object, weights, eligible=None):
    """Follow the definition with a loop over every object and every view."""
    anchors, outliers, first = [], [], 0
    for count in counts.tolist():
        views = [F.normalize(view.float(), dim=0) for view in features[first : first + count]]
        may = [True] * count if eligible is None else eligible[first : first + count].tolist()
        may = may if any(may) else [True] * count
        total = torch.zeros(features.shape[1])
        for i, view in enumerate(views):
            others = sorted((float(view @ o) for j, o in enumerate(views) if j != i and may[j]), reverse=True)
            nearest = min(1.0, others[0]) if others else 1.0
            near = sum(others[:5]) / len(others[:5]) if others else 1.0
            weight = {"paper": 1 / (1 - nearest + CLOSEST), "official": 1 / max(near, 1e-6), "uniform": 1}
            total += (weight[weights] if may[i] else 0) * view
        anchor = F.normalize(total, dim=0)
        order = sorted(range(count), key=lambda i, v=views, a=anchor: (-round(1 - float(v[i] @ a), 6), i))
        outliers += [first + i for i in order[:outliers_per_object] if count > 1]
        anchors.append(anchor)
        first += count
    return torch.stack(anchors), set(outliers)


def clusters(counts: list[int], width: int, seed: int = 0) -> torch.Tensor:
    """Draw views that scatter around a centre of their object's own, as CLIP's do."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(len(counts), width, generator=generator)
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    spread = torch.rand(len(owner), 1, generator=generator)
    return centres[owner] + spread * torch.randn(len(owner), width, generator=generator)


@pytest.mark.parametrize("weights", ["paper", "official", "uniform"])
def test_ragged_objects_give_what_the_loops_give(weights):
    counts = [1, 12, 2, 130, 5, 12, 3, 6, 31]  # one view, fewer than K, more than 100
    features = clusters(counts, 64)
    found = maximise(features, torch.tensor(counts), outliers_per_object=5, weights=weights)
    anchors, outliers = oracle(features, torch.tensor(counts), outliers_per_object=5, weights=weights)
    assert (found.anchors - anchors).abs().max() < 1e-7
    assert set(found.outliers.nonzero().flatten().tolist()) == outliers
    assert len(outliers) == 0 + 5 + 2 + 5 + 5 + 5 + 3 + 5 + 5


@pytest.mark.parametrize("weights", ["paper", "official"])
def test_anchors_of_captioned_views_alone(weights):
    counts = [4, 6, 3]
    features = clusters(counts, 16, seed=3)
    captioned = [1, 0, 1, 1, *[0, 0, 0, 1, 0, 0], *[0, 0, 0]]  # of the last object none
    eligible = torch.tensor(captioned).bool()
    found = maximise(
        features, torch.tensor(counts), outliers_per_object=2, weights=weights, eligible=eligible
    )
    anchors, outliers = oracle(
        features, torch.tensor(counts), outliers_per_object=2, weights=weights, eligible=eligible
    )
    assert (found.anchors - anchors).abs().max() < 1e-7
    assert set(found.outliers.nonzero().flatten().tolist()) == outliers
    assert torch.allclose(found.anchors[1], F.normalize(features[7], dim=0), atol=1e-6)


def test_small_blocks_and_half_precision_change_nothing(monkeypatch):
    counts = torch.tensor([7, 40, 7, 7])
    features = clusters(counts.tolist(), 32).half()
    whole = maximise(features, counts, outliers_per_object=3)
    monkeypatch.setattr(anchors_module, "LARGEST_BLOCK", 100)  # 40 views: rows of the product in parts
    parts = maximise(features, counts, outliers_per_object=3)
    assert whole.anchors.dtype == torch.float32
    assert torch.allclose(whole.anchors, parts.anchors, atol=1e-7)
    assert torch.equal(whole.outliers, parts.outliers)


def test_two_alike_and_one_odd():
    views = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])  # the first two point the same way
    paper = maximise(views, torch.tensor([3]), outliers_per_object=1)
    official = maximise(views, torch.tensor([3]), outliers_per_object=1, weights="official")
    odd = 1 / (1 + CLOSEST)
    expected = F.normalize(torch.tensor([2 / CLOSEST, odd]), dim=0)
    assert torch.allclose(paper.anchors[0], expected, atol=1e-6)
    assert paper.outliers.tolist() == [False, False, True]
    assert official.outliers.tolist() == [True, False, False], "the odd view has nearly all weight"


def test_equally_far_views_go_by_their_order():
    views = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    found = maximise(views, torch.tensor([4]), outliers_per_object=2, weights="uniform")
    assert found.outliers.tolist() == [True, True, False, False]


def test_an_object_alone_is_its_own_anchor_and_no_outlier():
    found = maximise(torch.tensor([[3.0, 4.0]]), torch.tensor([1, 0]), outliers_per_object=5)
    assert torch.allclose(found.anchors, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert (found.outliers.tolist(), found.distances.tolist()) == ([False], [pytest.approx(0, abs=1e-6)])
