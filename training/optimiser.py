"""AdamW, which parameters it decays, and the learning rate over the steps."""

import math

import torch
from torch import nn

from training.config import OptimiserConfig


def make_optimiser(module: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """Make AdamW over all trainable parameters.

    Norms, biases and the temperature, all that are vectors or less, are not decayed: that would only pull
    them off the values they have in the pretrained model. The official code decays everything.
    """
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [p for p in trainable if p.ndim >= 2 or config.decay_everything]
    kept = [p for p in trainable if not (p.ndim >= 2 or config.decay_everything)]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
    )


def learning_rate(step: int, config: OptimiserConfig) -> float:
    """Return the learning rate of a step, counted from 0: a linear warm-up, then a cosine down to zero."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    length = (config.schedule_steps or config.steps) - config.warmup_steps
    done = min(max((step - config.warmup_steps) / max(length, 1), 0.0), 1.0)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def set_learning_rate(optimiser: torch.optim.Optimizer, value: float) -> None:
    """Use a learning rate for all groups."""
    for group in optimiser.param_groups:
        group["lr"] = value
