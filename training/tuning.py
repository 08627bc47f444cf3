"""What of a model is trained: each tower by LoRA, whole or not at all."""

from typing import Literal, TypeAlias

from torch import nn

from training import lora
from training.dual_encoder import DualEncoder, Tower

Tuning: TypeAlias = Literal["lora", "full", "frozen"]


def prepare(encoder: DualEncoder, *, image: Tuning, text: Tuning, rank: int, alpha: float) -> None:
    """Freeze what is not trained and adapt what LoRA trains; the temperature is always trained.

    Raises:
        UsageError: LoRA was asked for where no attention is known.
    """
    encoder.network.requires_grad_(False)
    for tower, tuning in ((encoder.image_tower, image), (encoder.text_tower, text)):
        _prepare_tower(tower, tuning, rank, alpha)
    encoder.logit_scale.requires_grad_(True)


def _prepare_tower(tower: Tower, tuning: Tuning, rank: int, alpha: float) -> None:
    if tuning == "lora":
        lora.adapt(tower.attention, rank=rank, alpha=alpha)
    for parameter in tower.parameters if tuning == "full" else ():
        parameter.requires_grad_(True)


def trainable_parameters(module: nn.Module) -> int:
    """Count the numbers that training changes."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
