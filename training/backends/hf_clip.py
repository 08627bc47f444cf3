"""CLIP models in transformers' layout (`CLIPModel`), from a folder or the hub."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from training.backends import _transformers
from training.backends._transformers import Options
from training.dual_encoder import Encoded, Tower

__all__ = ["HfClip", "Options", "create"]


def create(options: Options, *, weights: bool = True) -> "HfClip":
    """Load the model.

    Raises:
        ModelUnavailableError: it cannot be had, or is no CLIP.
    """
    return HfClip(_transformers.load(CLIPModel, CLIPConfig, options, weights=weights), options)


class HfClip:
    """A CLIP of transformers'; see `DualEncoder`."""

    def __init__(self, loaded: _transformers.Loaded, options: Options) -> None:
        network = self.network = loaded.network
        self.preprocessing = loaded.preprocessing
        self._loaded = loaded
        self._options = options
        self.logit_scale: nn.Parameter = network.logit_scale
        self.image_tower = _tower(network.vision_model, network.visual_projection)
        self.text_tower = _tower(network.text_model, network.text_projection)
        self.width: int = network.projection_dim
        self.token_width: int | None = network.vision_embed_dim

    def encode_images(self, pixels: Tensor, *, tokens: bool = False) -> Encoded:
        """Encode normalised pictures."""
        found = self.network.vision_model(pixel_values=pixels)
        patches = found.last_hidden_state[:, 1:] if tokens else None
        return Encoded(self.network.visual_projection(found.pooler_output), patches)

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Encode tokens; what stands behind the end of a text is not seen, because attention is causal."""
        features: Tensor = self.network.text_projection(self.network.text_model(input_ids=ids).pooler_output)
        return features

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return as many tokens as the model has positions."""
        return self._loaded.tokenize(texts, self.network.config.text_config.max_position_embeddings)

    def checkpoint_activations(self) -> None:
        """Compute activations of both towers again in the backward pass."""
        self._loaded.checkpoint_activations()

    def save(self, folder: Path) -> None:
        """Write a folder that `CLIPModel.from_pretrained` loads."""
        self._loaded.save(folder)

    def identity(self) -> dict[str, str | None]:
        """Tell the model's name and revision."""
        return _transformers.identity("hf_clip", self._options)


def _tower(model: nn.Module, projection: nn.Module) -> Tower:
    return Tower(model, (*model.parameters(), *projection.parameters()))
