"""The model as it is trained: a pretrained dual encoder, and VIFormer behind its image encoder.

Notation: B batch, S side of a picture, D embedding.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.dual_encoder import DualEncoder, Encoded
from training.viformer import VIFormer

LARGEST_LOG_SCALE: Final = math.log(100)


class Student(nn.Module):
    """Holds everything that is trained, and gives unit-norm features.

    Args:
        viformer: None leaves the encoder's own features.
    """

    def __init__(self, encoder: DualEncoder, viformer: VIFormer | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.logit_scale = encoder.logit_scale
        self.viformer = viformer
        self.network = encoder.network
        self._largest_log_scale = max(LARGEST_LOG_SCALE, encoder.logit_scale.item())

    def encode_pictures(self, pixels: Tensor) -> Encoded:
        """Encode uint8 pictures (B, 3, S, S) with the pretrained encoder alone."""
        wants_tokens = self.viformer is not None and self.viformer.attend == "patches"
        normalised = self.encoder.preprocessing.normalise(pixels)
        encoded = self.encoder.encode_images(normalised, tokens=wants_tokens)
        return Encoded(encoded.features.float(), None if encoded.tokens is None else encoded.tokens.float())

    def finish(self, encoded: Encoded, object_index: Tensor | None = None) -> Tensor:
        """Return (B, D) unit-norm features: through VIFormer, where there is one.

        Args:
            object_index: (B,) equal numbers for views of one object; None where they are not known.
        """
        if self.viformer is None:
            return F.normalize(encoded.features, dim=1)
        features: Tensor = self.viformer(encoded.features, object_index=object_index, tokens=encoded.tokens)
        return features

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Return (B, D) unit-norm features of tokens."""
        return F.normalize(self.encoder.encode_texts(ids).float(), dim=1)

    def inverse_temperature(self) -> Tensor:
        """Return the () scale of the logits."""
        return self.logit_scale.exp().reshape(())

    @torch.no_grad()
    def limit_temperature(self) -> None:
        """Keep the scale at 100 at most, as in CLIP's training, or where it began if that is more."""
        self.logit_scale.clamp_(max=self._largest_log_scale)

    @torch.no_grad()
    def embed(self, pixels: Tensor, object_index: Tensor | None = None) -> Tensor:
        """Return (B, D) unit-norm features without gradients."""
        return self.finish(self.encode_pictures(pixels), object_index)
