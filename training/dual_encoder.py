"""What every backend gives the trainer: an image and a text encoder that share a space.

Notation: B batch, T tokens, D embedding, W width of the image encoder, S side of a picture in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a model wants its pictures; all of it comes from the model."""

    size: int
    """S: width and height in pixels."""
    mean: tuple[float, ...]
    """Of each channel, for values in [0, 1]."""
    std: tuple[float, ...]
    interpolation: Interpolation
    fit: Callable[[Image.Image], Image.Image]
    """Makes any RGB picture one of S x S, as the model's own evaluation does. Can be pickled."""

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return (B, 3, S, S) float32 of uint8 pixels, on their device."""
        mean = pixels.new_tensor(self.mean, dtype=torch.float32).view(1, 3, 1, 1)
        std = pixels.new_tensor(self.std, dtype=torch.float32).view(1, 3, 1, 1)
        return (pixels.to(torch.float32) / 255 - mean) / std


class Encoded(NamedTuple):
    """What becomes of pictures."""

    features: Tensor
    """(B, D), not normalised."""
    tokens: Tensor | None
    """(B, T, W) of the patches, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Tower:
    """A part of a network that can be tuned by itself."""

    attention: nn.Module
    """Holds the attention that LoRA adapts."""
    parameters: tuple[nn.Parameter, ...]
    """All that belong to the tower, its projection to D included."""


class DualEncoder(Protocol):
    """A pretrained model in float32, on the CPU when it is created."""

    @property
    def network(self) -> nn.Module:
        """The whole pretrained network. Its keys are those of the library it comes from."""

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of the inverse temperature, of one element; part of the network where it has one."""

    @property
    def image_tower(self) -> Tower: ...

    @property
    def text_tower(self) -> Tower: ...

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def width(self) -> int:
        """D."""

    @property
    def token_width(self) -> int | None:
        """W, or None where patches cannot be had."""

    def encode_images(self, pixels: Tensor, *, tokens: bool = False) -> Encoded:
        """Encode normalised pictures (B, 3, S, S)."""

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Return (B, D), not normalised, for what `tokenize` gave."""

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return (B, T) int64; T depends on the model alone."""

    def checkpoint_activations(self) -> None:
        """Trade time for memory: compute activations again in the backward pass."""

    def save(self, folder: Path) -> None:
        """Write the network, in its present state, so that its own library and this backend load it."""

    def identity(self) -> dict[str, str | None]:
        """Tell which model it is: no paths of this machine."""
