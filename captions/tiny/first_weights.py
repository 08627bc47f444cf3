"""First weights with which a small vision transformer learns from a few hundred objects in minutes.

Measured 2026-11-24 on validation objects, after about 300 steps of the picture's encoder alone: the R2 of the
sine of the camera's elevation was -0.07 with sine positions only (and a stronger jitter), 0.26 with attention
prepared as below and white as zero, and 0.44 with a convolutional network of the same cost.
"""

from typing import Any

import torch
from torch import Tensor

from captions.tiny.architecture import Size, build_config, build_model


def fresh_model(processor: Any, size: Size) -> Any:
    """Build a model that can learn: the query tokens are zeros in transformers, the output too loud."""
    model = build_model(build_config(processor, size))
    with torch.no_grad():
        model.query_tokens.normal_(std=0.5)
        model.language_model.lm_head.weight.mul_(size.width**-0.5)
        _prepare_encoder(model.vision_model, size)
    return model


def _prepare_encoder(vision_model: Any, size: Size) -> None:
    """Let every patch look at its neighbours first, and subtract them, as a convolution would.

    Queries equal keys, and values are projected back negatively ("mimetic" first weights, Trockman and
    Kolter 2023); positions are sines, whose inner products fall with the distance.
    """
    embeddings = vision_model.embeddings
    embeddings.patch_embedding.weight.normal_(std=(3 * size.patch_size**2) ** -0.5)
    embeddings.position_embedding.copy_(sine_positions(size.image_size // size.patch_size, size.width))
    for layer in vision_model.encoder.layers:
        attention = layer.self_attn
        query, value = (torch.linalg.qr(torch.randn(size.width, size.width))[0] for _ in range(2))
        attention.qkv.weight.copy_(torch.cat([query, query, value]))
        attention.projection.weight.copy_(-0.5 * value.T)


def sine_positions(side: int, width: int) -> Tensor:
    """Return (1, 1 + side * side, width) positions: zeros for the class token, then row by row.

    Half of the width tells the row and half the column, each by sines and cosines of wave lengths from
    2 pi to nearly 200 pi patches. `width` is a multiple of 4.
    """
    frequencies = 100.0 ** -(torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies  # (side, width / 4)
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    rows, columns = line[:, None].expand(-1, side, -1), line[None].expand(side, -1, -1)
    grid = torch.cat([rows, columns], dim=2).reshape(1, side * side, width)
    return torch.cat([torch.zeros(1, 1, width), grid], dim=1)
