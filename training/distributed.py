"""Several processes that train one model: who they are, and what they share.

Gradients are summed over processes once a step, after the whole backward pass, and divided by their number:
with LoRA they are a few megabytes. A batch that is encoded in parts, or twice, needs nothing more.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class World:
    """This process among all."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of this machine."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def gather(self, values: Tensor) -> Tensor:
        """Join the tensors (B, ...) of all processes, of equal shape, by rank; with gradient."""
        if self.size == 1:
            return values
        return cast(Tensor, _Gather.apply(values, self))

    def total(self, value: float) -> float:
        """Add up a number of each process."""
        if self.size == 1:
            return value
        summed = torch.tensor(value, dtype=torch.float64, device=_device())
        dist.all_reduce(summed)
        return summed.item()

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes; a missing one counts as zeros."""
        if self.size == 1:
            return
        held = list(parameters)
        for parameter in held:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([_gradient(parameter).flatten() for parameter in held])
        dist.all_reduce(flat)
        flat /= self.size
        start = 0
        for parameter in held:
            part = flat[start : start + parameter.numel()]
            _gradient(parameter).copy_(part.view_as(parameter))
            start += parameter.numel()

    def share(self, values: Tensor) -> Tensor:
        """Give every process the leader's values, in place."""
        if self.size > 1:
            dist.broadcast(values, 0)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()


class _Gather(torch.autograd.Function):
    """All-gather whose backward adds up what every process asks of this one's part; NCCL and gloo alike."""

    @staticmethod
    def forward(context: Any, values: Tensor, world: World) -> Tensor:
        context.world = world
        parts = [torch.empty_like(values) for _ in range(world.size)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Any:
        whole = gradients[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole.chunk(context.world.size)[context.world.rank], None


@contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun started; alone without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or dist.is_initialized():
        yield current()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield current()
    finally:
        dist.destroy_process_group()


def current() -> World:
    """Return this process's place in the group that exists."""
    if not dist.is_initialized():
        return World()
    return World(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def _device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
