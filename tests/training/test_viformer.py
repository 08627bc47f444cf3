"""VIFormer: the two blends, the identity start, and what it attends to."""

import pytest
import torch
from torch.nn import functional as F

from training.viformer import VIFormer

WIDTH = 16


@pytest.fixture
def features():
    return 3 * torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(0))


def former(**options):
    torch.manual_seed(1)
    return VIFormer(WIDTH, **options)


def test_the_paper_blends_unit_vectors_and_the_official_code_adds(features):
    convex, residual = former(), former(blend="residual")
    with torch.no_grad():
        unit = F.normalize(features, dim=1)
        expected = 0.1 * convex.layers(unit[:, None])[:, 0] + 0.9 * unit
        assert torch.allclose(convex(features), F.normalize(expected, dim=1), atol=1e-6)
        expected = features + 0.1 * residual.layers(features[:, None])[:, 0]
        assert torch.allclose(residual(features), F.normalize(expected, dim=1), atol=1e-6)


def test_a_zero_start_is_the_identity_and_still_learns(features):
    model = former(zero_start=True)
    found = model(features)
    assert torch.allclose(found, F.normalize(features, dim=1), atol=1e-6)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):  # the first step moves the last normalisation, the second all layers
        optimiser.zero_grad()
        (model(features)[:, 0]).sum().backward()
        optimiser.step()
    assert model.layers.layers[0].linear1.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("blend", ["convex", "residual"])
def test_on_a_single_token_queries_and_keys_are_dead_weight(features, blend):
    model = former(blend=blend)
    model(features)[:, 0].sum().backward()
    gradient = model.layers.layers[0].self_attn.in_proj_weight.grad
    assert gradient[: 2 * WIDTH].abs().max() < 1e-9
    assert gradient[2 * WIDTH :].abs().max() > 1e-6


def test_views_attend_to_views_of_their_own_object_alone(features):
    model, objects = former(attend="views"), torch.tensor([0, 1, 0, 2, 1, 0])
    with torch.no_grad():
        found = model(features, object_index=objects)
        moved = features.clone()
        moved[2] += 1
        changed = (model(moved, object_index=objects) - found).abs().amax(dim=1)
        assert (changed[[0, 2, 5]] > 1e-5).all()
        assert (changed[[1, 3, 4]] < 1e-6).all()
        alone = model(features[3:4])
    assert torch.allclose(alone[0], found[3], atol=1e-6), "an object's only view attends to itself"


def test_patches_are_attended_to(features):
    model = former(attend="patches", token_width=5)
    patches = torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found, other = model(features, tokens=patches), model(features, tokens=patches.roll(1, 0))
    assert ((found - other).abs().amax(dim=1) > 1e-5).all()
    with pytest.raises(ValueError, match="patches"):
        model(features)
    with pytest.raises(ValueError, match="width"):
        former(attend="patches")
