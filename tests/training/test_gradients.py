"""Gradients of a batch in parts are those of the whole batch, for everything that is trained."""

import pytest
import torch
from torch import nn

from training import gradients
from training.dual_encoder import Encoded
from training.losses import image_text_loss


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 4)).double()


def grads(model, micro_batch, *, tokens=False):
    model.zero_grad()
    pixels = torch.randn(7, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    texts = nn.functional.normalize(
        torch.randn(7, 4, generator=torch.Generator().manual_seed(2), dtype=torch.double), dim=1
    )

    def encode(part):
        features = model(part)
        return Encoded(features, features.unsqueeze(1) * 2 if tokens else None)

    def loss(encoded):
        features = encoded.features + (encoded.tokens.mean(dim=1) ** 2 if tokens else 0)
        return image_text_loss(nn.functional.normalize(features, dim=1), texts, torch.tensor(5.0))

    value = gradients.backward(pixels, encode, loss, micro_batch=micro_batch)
    return value, [parameter.grad.clone() for parameter in model.parameters()]


@pytest.mark.parametrize("micro_batch", [1, 3, 6])
@pytest.mark.parametrize("tokens", [False, True])
def test_parts_have_the_gradient_of_the_whole(model, micro_batch, tokens):
    value, expected = grads(model, None, tokens=tokens)
    in_parts, found = grads(model, micro_batch, tokens=tokens)
    assert in_parts.item() == pytest.approx(value.item(), abs=1e-6)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_dropout_is_the_same_in_both_passes_and_the_generator_goes_on(model):
    torch.manual_seed(5)
    dropping = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
    weight = nn.Parameter(torch.ones(12))
    seen = []

    def encode(part):
        features = dropping(part) * weight
        seen.append(features.detach())
        return Encoded(features, None)

    gradients.backward(torch.ones(4, 3, 2, 2), encode, lambda encoded: encoded.features.sum(), micro_batch=2)
    assert torch.equal(torch.cat(seen[:2]), torch.cat(seen[2:]))
    after = torch.rand(1)
    torch.manual_seed(5)
    assert not torch.equal(after, torch.rand(1))
