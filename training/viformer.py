"""VIFormer: a small transformer behind the image encoder that makes features agree across viewpoints.

Two post-norm encoder layers with four heads and a feed-forward width of 2048, as in the official code.

Notation: B batch, T tokens, D embedding, W width of the image encoder.
"""

from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Blend: TypeAlias = Literal["convex", "residual"]
"""`convex`: alpha f(z) + (1 - alpha) z on unit-norm z, as the paper writes. `residual`: z + alpha f(z) on z
as the encoder gives it, as the official code does."""

Attend: TypeAlias = Literal["self", "views", "patches"]
"""What a feature attends to. `self`: itself alone, as in paper and official code; queries and keys are dead
weight then. `views`: the views of its object in the batch, so that a single picture attends to itself.
`patches`: its own picture's patches."""

LAYERS: Final = 2
HEADS: Final = 4
FEED_FORWARD: Final = 2048


class VIFormer(nn.Module):
    """Blends image features with what two transformer layers make of them.

    Args:
        width: D.
        alpha: share of the transformer in the result; the paper's is 0.1.
        zero_start: begin as the identity: the last normalisation starts with zeros, so that f(z) = 0. Ours;
            from its usual start f is noise, which a tenth of lowers the accuracy of the first steps.
        token_width: W of the patches to attend to; needed for `patches` alone.
    """

    def __init__(
        self,
        width: int,
        *,
        alpha: float = 0.1,
        blend: Blend = "convex",
        attend: Attend = "self",
        zero_start: bool = False,
        token_width: int | None = None,
    ) -> None:
        super().__init__()
        self.alpha, self.blend, self.attend = alpha, blend, attend
        layer = nn.TransformerEncoderLayer(width, HEADS, FEED_FORWARD, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.project: nn.Linear | None = None
        if attend == "patches":
            if token_width is None:
                raise ValueError("attend='patches' needs the width of the patches")
            self.project = nn.Linear(token_width, width)
        if zero_start:
            last = self.layers.layers[-1].norm2
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, features: Tensor, *, object_index: Tensor | None = None, tokens: Tensor | None = None
    ) -> Tensor:
        """Return (B, D) unit-norm features.

        Args:
            features: (B, D) as the encoder gives them.
            object_index: (B,) equal numbers for views of one object; for `views`. None: all differ.
            tokens: (B, T, W) patches of each picture; for `patches`.
        """
        z = F.normalize(features, dim=1) if self.blend == "convex" else features  # (B, D)
        found = self._transform(z, object_index, tokens)
        if self.blend == "convex":
            return F.normalize(self.alpha * found + (1 - self.alpha) * z, dim=1)
        return F.normalize(z + self.alpha * found, dim=1)

    def _transform(self, z: Tensor, object_index: Tensor | None, tokens: Tensor | None) -> Tensor:
        if self.attend == "views" and object_index is not None:
            apart = object_index[:, None] != object_index  # (B, B)
            found: Tensor = self.layers(z.unsqueeze(0), mask=apart)
            return found.squeeze(0)
        if self.project is not None:
            if tokens is None:
                raise ValueError("attend='patches' needs the patches of each picture")
            sequence = torch.cat([z.unsqueeze(1), self.project(tokens).to(z.dtype)], dim=1)  # (B, 1 + T, D)
            attended: Tensor = self.layers(sequence)
            return attended[:, 0]
        alone: Tensor = self.layers(z.unsqueeze(1))
        return alone.squeeze(1)
