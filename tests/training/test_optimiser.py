"""What is decayed, and the learning rate over the steps."""

import math

import pytest
import torch
from torch import nn

from training.config import OptimiserConfig
from training.optimiser import learning_rate, make_optimiser


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.norm = nn.LayerNorm(3)
        self.logit_scale = nn.Parameter(torch.tensor(4.6))
        self.frozen = nn.Parameter(torch.ones(2, 2), requires_grad=False)


def decays(**options):
    module = Small()
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    optimiser = make_optimiser(module, OptimiserConfig(**options))
    return {names[id(p)]: group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}


def test_norms_biases_and_temperature_are_not_decayed_but_by_the_official_way():
    kept = {"linear.bias": 0.0, "norm.weight": 0.0, "norm.bias": 0.0, "logit_scale": 0.0}
    assert decays() == {"linear.weight": 0.05, **kept}
    assert decays(decay_everything=True) == dict.fromkeys(("linear.weight", *kept), 0.05)


def test_the_rate_rises_and_falls_by_step():
    config = OptimiserConfig(steps=110, warmup_steps=10, learning_rate=2.0)
    assert [learning_rate(step, config) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert learning_rate(60, config) == pytest.approx(1.0)
    assert learning_rate(109, config) == pytest.approx(1 + math.cos(math.pi * 0.99))
    official = OptimiserConfig(steps=110, warmup_steps=0, schedule_steps=10_000)
    assert learning_rate(109, official) > 0.999 * official.learning_rate
