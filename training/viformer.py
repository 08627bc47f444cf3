"""VIFormer: a small transformer behind the image encoder that makes features agree across viewpoints.

Two post-norm encoder layers with four heads and a feed-forward width of 2048, as in the official code. This
file needs torch and safetensors alone, and is copied beside exported models.

Notation: B batch, T tokens, D embedding, W width of the image encoder.
"""

import json
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import torch
from safetensors.torch import load_file
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
WEIGHTS_FILE, SETTINGS_FILE = "viformer.safetensors", "viformer.json"


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
        self.width, self.alpha, self.blend, self.attend = width, alpha, blend, attend
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

    def settings(self) -> dict[str, Any]:
        """Return what `load` makes the same module of, but for its weights."""
        token_width = self.project.in_features if self.project is not None else None
        return {
            "width": self.width,
            "alpha": self.alpha,
            "blend": self.blend,
            "attend": self.attend,
            "token_width": token_width,
        }

    @classmethod
    def load(cls, folder: str | Path) -> "VIFormer":
        """Read it from an exported model's folder."""
        former = cls(**json.loads((Path(folder) / SETTINGS_FILE).read_text()))
        former.load_state_dict(load_file(Path(folder) / WEIGHTS_FILE))
        return former.requires_grad_(False).eval()

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


class WithVIFormer(nn.Module):
    """An open_clip model whose `encode_image` has VIFormer behind it; everything else is the model's own.

    Args:
        folder: of the exported model.
    """

    def __init__(self, model: Any, folder: str | Path) -> None:
        super().__init__()
        self.model = model
        self.viformer = VIFormer.load(folder)

    def encode_image(self, image: Tensor, normalize: bool = True) -> Tensor:
        """Return (B, D) features, which are unit-norm in any case.

        Where VIFormer attends to patches, these are taken from open_clip's vision transformer.
        """
        if self.viformer.attend != "patches":
            features: Tensor = self.viformer(self.model.encode_image(image))
            return features
        visual = self.model.visual
        usual, visual.output_tokens = visual.output_tokens, True
        try:
            pooled, tokens = visual(image)
        finally:
            visual.output_tokens = usual
        features = self.viformer(pooled, tokens=tokens)
        return features

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)
