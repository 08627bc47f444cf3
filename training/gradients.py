"""The gradient of a contrast over a batch that does not fit into memory at once.

As in GradCache: features of all parts are computed without a graph, the loss is taken over all of them, and
each part is computed again to pass its features' gradients on. The result is that of the whole batch at once;
adding up the losses of parts, as accumulation usually does, would contrast within each part alone.

Notation: B batch of one process, D embedding.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from training.dual_encoder import Encoded

Encode = Callable[[Tensor], Encoded]
Loss = Callable[[Encoded], Tensor]


def backward(pixels: Tensor, encode: Encode, loss: Loss, *, micro_batch: int | None) -> Tensor:
    """Add the gradient of `loss(encode(pixels))` to all parameters, and return the loss without a graph.

    Args:
        micro_batch: how many pictures are encoded at once; None encodes all together.
    """
    if micro_batch is None or micro_batch >= len(pixels):
        value = loss(encode(pixels))
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()
    parts = pixels.split(micro_batch)  # type: ignore[no-untyped-call]
    states, found = [], []
    with torch.no_grad():
        for part in parts:
            states.append(_random_state(part.device))
            found.append(encode(part))
    whole = _joined(found)
    value = loss(whole)
    value.backward()  # type: ignore[no-untyped-call]
    after = _random_state(pixels.device)
    first = 0
    for part, state in zip(parts, states, strict=True):
        _set_random_state(pixels.device, state)  # the same dropout as before
        again = encode(part)
        pairs = [
            (output, leaf.grad[first : first + len(part)])
            for output, leaf in zip(again, whole, strict=True)
            if output is not None and output.requires_grad and leaf is not None and leaf.grad is not None
        ]
        if pairs:
            torch.autograd.backward([output for output, _ in pairs], [gradient for _, gradient in pairs])
        first += len(part)
    _set_random_state(pixels.device, after)
    return value.detach()


def _joined(parts: list[Encoded]) -> Encoded:
    """Join parts into leaves that collect gradients."""
    features = torch.cat([part.features for part in parts]).requires_grad_()
    tokens = [part.tokens for part in parts if part.tokens is not None]
    return Encoded(features, torch.cat(tokens).requires_grad_() if tokens else None)


def _random_state(device: torch.device) -> tuple[Any, ...]:
    state: tuple[Any, ...] = (torch.get_rng_state(),)
    return (*state, torch.cuda.get_rng_state(device)) if device.type == "cuda" else state


def _set_random_state(device: torch.device, state: tuple[Any, ...]) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
