"""Models that open_clip loads: OpenCLIP, OpenAI, MetaCLIP, EVA, SigLIP; from the hub or from files."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import VisionTransformer
from open_clip.utils import to_2tuple
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms import Compose

from mvcap.errors import ModelUnavailableError, did_you_mean
from mvcap.hub import what_went_wrong
from training.dual_encoder import Encoded, Interpolation, Preprocessing, Tower

UNTRAINED: Final = "untrained"
UNTRAINED_SHAPE: Final[dict[str, Any]] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "patch_size": 8, "width": 128, "layers": 4, "head_width": 32},
    "text_cfg": {"context_length": 24, "width": 64, "heads": 2, "layers": 2},
}
"""4.2 million parameters, of which 3.2 are words."""
LOCAL_FOLDER: Final = "local-dir:"
HUB: Final = "hf-hub:"
"""Prefixes by which open_clip knows a folder, and a repository, with `open_clip_config.json` and weights."""
CONFIG_FILE: Final = "open_clip_config.json"
WEIGHTS_FILE: Final = "open_clip_model.safetensors"


class Options(BaseModel):
    """Which model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "ViT-B-32"
    """A name of open_clip's, `hf-hub:owner/name`, a folder with `open_clip_config.json`, or `untrained`: a
    small one with random weights, which knows nothing and serves to try things out."""
    pretrained: str | None = "laion2b_s34b_b79k"
    """Weights for a name of open_clip's: a tag of its own, or a file. Of no account for the others."""
    quick_gelu: bool | None = None
    """Whether the weights want OpenAI's approximation of GELU; null asks the tag."""
    seed: int = 0
    """Of the random weights of `untrained`."""


def create(options: Options, *, weights: bool = True) -> "OpenClip":
    """Load the model.

    Raises:
        ModelUnavailableError: there is no such model, or it cannot be had.
    """
    if options.model == UNTRAINED:
        return _create_untrained(options.seed)
    name = _full_name(options.model)
    _require_known(name)
    quick = _wants_quick_gelu(options)
    try:
        network = open_clip.create_model(
            name,
            pretrained=options.pretrained if weights and ":" not in name else None,
            load_weights=weights,
            force_quick_gelu=quick,
            require_pretrained=weights,
        )
        shape = _shape(name) | ({"quick_gelu": True} if quick else {})
        return OpenClip(network, open_clip.get_tokenizer(name), shape, options)
    except (RuntimeError, OSError, ValueError, KeyError) as error:
        reason = what_went_wrong(error, f"the model {options.model} {options.pretrained or ''}".strip(), None)
        raise ModelUnavailableError(
            f"{reason}\nopen_clip cannot load it. model.options.model is one of open_clip.list_models(), "
            f"{HUB}OWNER/NAME or a folder with {CONFIG_FILE}; model.options.pretrained a tag from "
            "open_clip.list_pretrained() or a file with weights."
        ) from error


class OpenClip:
    """A CLIP of open_clip's; see `DualEncoder`."""

    def __init__(self, network: Any, tokenizer: Any, shape: dict[str, Any], options: Options) -> None:
        self.network: Any = network
        self._tokenizer = tokenizer
        self._shape = shape
        self._options = options
        self.logit_scale: nn.Parameter = network.logit_scale
        self.preprocessing = _preprocessing(network.visual.preprocess_cfg)
        image = tuple(network.visual.parameters())
        self.image_tower = Tower(network.visual, image)
        scales = {id(network.logit_scale), id(network.logit_bias), *map(id, image)}
        text = tuple(parameter for parameter in network.parameters() if id(parameter) not in scales)
        self.text_tower = Tower(network.text if hasattr(network, "text") else network.transformer, text)
        self.width: int = shape["embed_dim"]
        has_tokens = isinstance(network.visual, VisionTransformer)
        self.token_width: int | None = network.visual.ln_post.normalized_shape[0] if has_tokens else None

    def encode_images(self, pixels: Tensor, *, tokens: bool = False) -> Encoded:
        """Encode normalised pictures."""
        visual = self.network.visual
        if not tokens:
            found = visual(pixels)
            return Encoded(found[0] if isinstance(found, tuple) else found, None)
        usual = visual.output_tokens
        visual.output_tokens = True
        try:
            return Encoded(*visual(pixels))
        finally:
            visual.output_tokens = usual

    def encode_texts(self, ids: Tensor) -> Tensor:
        """Encode tokens."""
        features: Tensor = self.network.encode_text(ids)
        return features

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return as many tokens as the model has room for."""
        ids: Tensor = self._tokenizer(list(texts))
        return ids

    def checkpoint_activations(self) -> None:
        """Compute activations of both towers again in the backward pass."""
        self.network.set_grad_checkpointing(True)

    def save(self, folder: Path) -> None:
        """Write a folder that open_clip loads as `local-dir:FOLDER`."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"model_cfg": self._shape, "preprocess_cfg": dict(self.network.visual.preprocess_cfg)}
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1))
        state = {name: value.contiguous().clone() for name, value in self.network.state_dict().items()}
        save_file(state, folder / WEIGHTS_FILE)
        if hasattr(self._tokenizer, "save_pretrained"):
            self._tokenizer.save_pretrained(str(folder))

    def identity(self) -> dict[str, str | None]:
        """Tell the model's name and tag."""
        weights = Path(self._options.pretrained).name if self._options.pretrained else None
        return {"backend": "open_clip", "model": Path(self._options.model).name, "pretrained": weights}


def _create_untrained(seed: int) -> OpenClip:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = open_clip.CLIP(**UNTRAINED_SHAPE)
    size = UNTRAINED_SHAPE["vision_cfg"]["image_size"]
    network.visual.preprocess_cfg = asdict(PreprocessCfg(size=size))
    tokenizer = open_clip.SimpleTokenizer(context_length=UNTRAINED_SHAPE["text_cfg"]["context_length"])
    return OpenClip(network, tokenizer, UNTRAINED_SHAPE, Options(model=UNTRAINED, pretrained=None, seed=seed))


def _full_name(model: str) -> str:
    folder = Path(model).expanduser()
    return f"{LOCAL_FOLDER}{folder.absolute()}" if folder.is_dir() else model


def _require_known(name: str) -> None:
    """Refuse what is no folder and no name, which open_clip does with all of its 150 names.

    Raises:
        ModelUnavailableError: it names the nearest.
    """
    known = open_clip.list_models()
    if ":" not in name and name.replace("/", "-") not in known:
        raise ModelUnavailableError(
            f"there is no folder {name} and no model of that name{did_you_mean(name, known)}. "
            f"model.options.model is one of open_clip.list_models(), {HUB}OWNER/NAME or a folder with "
            f"{CONFIG_FILE}"
        )


def _wants_quick_gelu(options: Options) -> bool:
    """Ask the tag: open_clip only warns where weights and architecture disagree, and loses accuracy."""
    if options.quick_gelu is not None:
        return options.quick_gelu
    tag = open_clip.get_pretrained_cfg(options.model, options.pretrained) if options.pretrained else {}
    return bool(tag.get("quick_gelu", False))


def _shape(name: str) -> dict[str, Any]:
    """Return the settings from which open_clip builds the architecture."""
    if name.startswith(LOCAL_FOLDER):
        file = Path(name.removeprefix(LOCAL_FOLDER)) / CONFIG_FILE
    elif name.startswith(HUB):
        from huggingface_hub import hf_hub_download

        file = Path(hf_hub_download(name.removeprefix(HUB), CONFIG_FILE))
    else:
        return dict(open_clip.get_model_config(name.replace("/", "-")))
    return dict(json.loads(file.read_text("utf-8"))["model_cfg"])


def _preprocessing(config: dict[str, Any]) -> Preprocessing:
    cfg = PreprocessCfg(**config)
    width, height = to_2tuple(cfg.size)
    if width != height:
        raise ValueError(f"its pictures are {width} x {height} pixels; only square ones can be tuned")
    *fit, _, _ = image_transform_v2(cfg, is_train=False).transforms  # without making and scaling a tensor
    interpolation: Interpolation = "bilinear" if cfg.interpolation == "bilinear" else "bicubic"
    return Preprocessing(width, tuple(cfg.mean), tuple(cfg.std), interpolation, Compose(fit))
