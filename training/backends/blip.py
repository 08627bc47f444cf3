"""BLIP with its head for image-text contrast (transformers' `BlipForImageTextRetrieval`)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from transformers import BlipConfig, BlipForImageTextRetrieval

from training.backends import _transformers
from training.dual_encoder import Encoded, Tower

LONGEST_TEXT: Final = 35
"""Tokens of a caption, as in BLIP's own retrieval training; it has room for 512."""


class Options(_transformers.Options):
    """Which model."""

    logit_scale: float = 1 / 0.07
    """Inverse temperature to begin with, which is where BLIP itself began: transformers' checkpoints lack the
    one that it learnt."""


def create(options: Options, *, weights: bool = True) -> "Blip":
    """Load the model.

    Raises:
        ModelUnavailableError: it cannot be had, or has no head for contrast.
    """
    loaded = _transformers.load(BlipForImageTextRetrieval, BlipConfig, options, weights=weights)
    return Blip(loaded, options)


class Blip:
    """A BLIP; see `DualEncoder`. Its head for matching, and cross-attention, stay as they are."""

    def __init__(self, loaded: _transformers.Loaded, options: Options) -> None:
        network = self.network = loaded.network
        self.preprocessing = loaded.preprocessing
        self._loaded = loaded
        self._options = options
        self.logit_scale = nn.Parameter(torch.tensor(math.log(options.logit_scale)))
        image = (*network.vision_model.parameters(), *network.vision_proj.parameters())
        self.image_tower = Tower(network.vision_model, image)
        text = [p for name, p in network.text_encoder.named_parameters() if "crossattention" not in name]
        self.text_tower = Tower(network.text_encoder, (*text, *network.text_proj.parameters()))
        self.width: int = network.config.image_text_hidden_size
        self.token_width: int | None = network.config.vision_config.hidden_size

    def encode_images(self, pixels: Tensor, *, tokens: bool = False) -> Encoded:
        """Encode normalised pictures."""
        found = self.network.vision_model(pixel_values=pixels).last_hidden_state  # (B, 1 + T, W)
        return Encoded(self.network.vision_proj(found[:, 0]), found[:, 1:] if tokens else None)

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Encode tokens."""
        mask = (ids != self._loaded.tokenizer.pad_token_id).long()
        found = self.network.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        features: Tensor = self.network.text_proj(found[:, 0])
        return features

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return `LONGEST_TEXT` tokens, or as many as the model has positions where that is less."""
        room = self.network.config.text_config.max_position_embeddings
        return self._loaded.tokenize(texts, min(LONGEST_TEXT, room))

    def checkpoint_activations(self) -> None:
        """Compute activations of both towers again in the backward pass."""
        self._loaded.checkpoint_activations()

    def save(self, folder: Path) -> None:
        """Write a folder that `BlipForImageTextRetrieval.from_pretrained` loads; it has no place for the
        temperature."""
        self._loaded.save(folder)

    def identity(self) -> dict[str, str | None]:
        """Tell the model's name and revision."""
        return _transformers.identity("blip", self._options)
