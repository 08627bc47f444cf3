"""Build a small, untrained InstructBLIP: the paper's architecture with random weights.

It runs the real captioning code in milliseconds per picture. Its captions are made of English words,
depend on the picture and on the prompt, and mean nothing.

Random weights are drawn here and not by transformers, whose defaults make a fresh InstructBLIP blind:
`InstructBlipVisionConfig.initializer_range` is 1e-10 and `query_tokens` are zeros (measured with 5.23).
"""

import hashlib
import os
from functools import partial
from math import prod, sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np

from captions.checkpoints import require_complete
from captions.tiny import architecture
from captions.tiny.architecture import (
    PROMPT_WORDS,
    Size,
    build_config,
    build_model,
    build_processor,
    publish_checkpoint,
    save_checkpoint,
)

WORD_LIST: Final = """
a an the of in on with from and at to by is seen above below behind front side left right view top
red orange yellow green blue purple pink brown black white grey beige dark light bright pale
small large tall short long wide narrow round square flat thin thick old new modern simple plain wooden
metal glass plastic leather stone paper soft hard smooth rough shiny open closed empty full
chair table sofa bed lamp desk shelf cabinet door window plant tree flower car truck bicycle boat plane
cup bottle bowl plate box bag book clock mirror picture piano guitar ball bench stool rug basket bin
computer screen keyboard phone oven fridge sink bath toilet stove fan heater camera bird dog cat horse
person man woman child house room wall floor corner object thing legs arms back seat drawer handle wheel
leaf branch vase pot cushion curtain frame lid base cover surface shadow
"""

CAPTION_WORDS: Final = tuple(WORD_LIST.split())
"""The closed list of words that captions are made of."""

SIZE: Final = Size(width=64, vision_layers=2, text_layers=2, image_size=64, patch_size=16)

MODEL_CARD: Final = """---
library_name: transformers
pipeline_tag: image-text-to-text
license: apache-2.0
---

# An untrained InstructBLIP

The weights in this folder are **random numbers** (seed {seed}): nothing was ever trained. The model has the
architecture of InstructBLIP with a T5, some {parameters} parameters, and writes words from a closed list of
{words}. **Its captions mean nothing**: they depend on picture and prompt, and say nothing about either.

It exists so that the captioning code of `mvcap` can be run and tested on any machine in seconds. Built by
`captions/tiny/untrained.py`.
"""


def cached_untrained_checkpoint(*, seed: int = 0) -> Path:
    """Return the checkpoint's folder in mvcap's cache, building it where it is not there yet.

    The cache is `MVCAP_CACHE`, else `mvcap` in `XDG_CACHE_HOME` or `~/.cache`. The folder's name holds
    a hash of this recipe's source, so that another version of mvcap builds another folder.
    """
    sources = Path(__file__).read_bytes() + Path(architecture.__file__).read_bytes()
    recipe = hashlib.sha256(sources).hexdigest()[:8]
    cache = os.environ.get("MVCAP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mvcap"
    return build_untrained_checkpoint(
        Path(cache).expanduser() / "models" / f"untrained-instructblip-{recipe}-{seed}", seed=seed
    )


def build_untrained_checkpoint(folder: Path, *, seed: int = 0) -> Path:
    """Write the checkpoint to `folder` unless it is already there, and return `folder`.

    Safe with several processes at once. The weights are a pure function of the seed.

    Raises:
        ModelUnavailableError: the folder exists and is not a complete checkpoint, or cannot be written.
    """
    if folder.is_dir():
        require_complete(folder, str(folder))
        return folder
    return publish_checkpoint(folder, partial(_write_checkpoint, seed=seed))


def _write_checkpoint(folder: Path, *, seed: int) -> None:
    processor = build_processor(CAPTION_WORDS + PROMPT_WORDS, SIZE)
    model = _build_model(processor, seed)
    card = MODEL_CARD.format(seed=seed, parameters=f"{model.num_parameters():,}", words=len(CAPTION_WORDS))
    save_checkpoint(folder, processor, model, card)


def _build_model(processor: Any, seed: int) -> Any:
    import torch

    with torch.random.fork_rng(devices=[]):  # what transformers draws is drawn again below
        model = build_model(build_config(processor, SIZE))
    _draw_weights(model, np.random.default_rng(seed))
    _steer_towards_short_captions(model, processor.tokenizer)
    return model


def _draw_weights(model: Any, rng: np.random.Generator) -> None:
    """Draw every matrix from a normal distribution, in the order of the names; biases and norms keep
    their zeros and ones. NumPy, so that the same seed gives the same bytes with any torch."""
    import torch

    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim >= 2:
                drawn = rng.standard_normal(tuple(weight.shape), dtype=np.float32)
                weight.copy_(torch.from_numpy(drawn * _standard_deviation(name, tuple(weight.shape))))


def _standard_deviation(name: str, shape: tuple[int, ...]) -> np.float32:
    """Choose the scale that keeps signals near 1; more for the patches, so that colours tell."""
    if name.endswith("patch_embedding.weight"):
        return np.float32(3 / sqrt(prod(shape[1:])))
    if any(part in name for part in ("embedding", "query_tokens", "shared")):
        return np.float32(1)
    if "relative_attention_bias" in name:
        return np.float32(0.5)
    return np.float32((4 if "lm_head" in name else 1.5) / sqrt(shape[-1]))


def _steer_towards_short_captions(model: Any, tokenizer: Any) -> None:
    """Let captions consist of caption words, never be empty, and end after a few words.

    The output rows of all other tokens are zero, and the likeliest of some hundred random words beats
    the logit 0. The end of the caption follows the first coordinate of the hidden state, which the
    token that starts every caption pushes down and half of the words push up.
    """
    import torch

    writable = tokenizer.convert_tokens_to_ids([f"▁{word}" for word in CAPTION_WORDS])
    with torch.no_grad():
        head = model.language_model.lm_head.weight  # (T, D)
        mask = torch.zeros(len(head), 1)
        mask[writable] = 1
        head *= mask
        head[tokenizer.eos_token_id, 0] = 10
        model.language_model.shared.weight[tokenizer.pad_token_id, 0] = -20
