"""Load and save models, and what belongs to them, through transformers: from a folder or the hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from torch import Tensor
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from mvcap.errors import ModelUnavailableError
from mvcap.hub import what_went_wrong
from mvcap.quiet import quiet_transformers
from training.dual_encoder import Interpolation, Preprocessing

BILINEAR: Final = 2
"""Pillow's number for it, which image processors have as `resample`."""


class Options(BaseModel):
    """Which model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = ""
    """A folder with config, tokenizer and model.safetensors, or a name on the Hugging Face hub."""
    revision: str | None = None
    """Branch, tag or commit on the hub; its main branch where null."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network in float32, and what belongs to it."""

    network: Any
    tokenizer: Any
    pictures: Any
    """The image processor."""
    preprocessing: Preprocessing
    """What it does."""

    def tokenize(self, texts: Sequence[str], length: int) -> Tensor:
        """Return (B, length) int64, cut and padded on the right."""
        found = self.tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=length, padding_side="right"
        )
        return torch.tensor(found["input_ids"])

    def checkpoint_activations(self) -> None:
        """Compute activations again in the backward pass; transformers has renamed it."""
        old = self.network.gradient_checkpointing_enable
        getattr(self.network, "activation_checkpointing_enable", old)({"use_reentrant": False})

    def save(self, folder: Path) -> None:
        """Write a folder that transformers, and `load`, read."""
        with quiet_transformers():
            for part in (self.network, self.tokenizer, self.pictures):
                part.save_pretrained(folder)


def load(model_class: Any, config_class: Any, options: Options, *, weights: bool) -> Loaded:
    """Load a model from a folder, the hub or its cache.

    Weights are safetensors, never pickles, and must be complete: transformers fills gaps with noise.

    Raises:
        ModelUnavailableError: it cannot be had, or lacks weights.
    """
    library: Any = transformers
    common = {"revision": options.revision or "main", "trust_remote_code": False}
    source = _source(options)
    gaps: list[str] = []
    try:
        with quiet_transformers():
            tokenizer = library.AutoTokenizer.from_pretrained(source, **common)
            pictures = library.AutoImageProcessor.from_pretrained(source, backend="pil", **common)
            preprocessing = _preprocessing(pictures)  # refuses what cannot be tuned before weights are read
            if weights:
                network, report = model_class.from_pretrained(
                    source, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **common
                )
                gaps = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
            else:
                network = model_class(config_class.from_pretrained(source, **common))
    except (OSError, ValueError, RuntimeError, SafetensorError, KeyError) as error:
        reason = what_went_wrong(error, f"the model {options.model!r}", options.revision)
        raise ModelUnavailableError(
            f"{reason}\ntransformers cannot load it as a {model_class.__name__}. model.options.model is a "
            "folder or a name on the hub with config.json, model.safetensors, tokenizer and preprocessor."
        ) from error
    if gaps:
        raise ModelUnavailableError(
            f"{options.model} is no {model_class.__name__}: it lacks {len(gaps)} weights, such as {gaps[0]}"
        )
    return Loaded(network, tokenizer, pictures, preprocessing)


def identity(backend: str, options: Options) -> dict[str, str | None]:
    """Tell a model's name and revision."""
    return {"backend": backend, "model": Path(options.model).name, "revision": options.revision}


def _source(options: Options) -> str:
    folder = Path(options.model).expanduser()
    return str(folder) if options.model and folder.is_dir() else options.model


def _preprocessing(pictures: Any) -> Preprocessing:
    """Read what an image processor does."""
    crops = bool(getattr(pictures, "do_center_crop", False))
    side = pictures.crop_size if crops else pictures.size
    if side["height"] != side["width"]:
        raise ValueError(f"its pictures have the size {dict(side)}; only square ones can be tuned")
    bilinear = int(pictures.resample) == BILINEAR
    mode = InterpolationMode.BILINEAR if bilinear else InterpolationMode.BICUBIC
    interpolation: Interpolation = "bilinear" if bilinear else "bicubic"
    resized = pictures.size.get("shortest_edge") or (pictures.size["height"], pictures.size["width"])
    steps: list[Any] = [Resize(resized, mode)]
    if crops:
        steps.append(CenterCrop(int(side["height"])))
    mean, std = tuple(pictures.image_mean), tuple(pictures.image_std)
    return Preprocessing(int(side["height"]), mean, std, interpolation, Compose(steps))
