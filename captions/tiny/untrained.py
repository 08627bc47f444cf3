"""Build a small, untrained InstructBLIP: the paper's architecture with random weights.

It runs the real captioning code in milliseconds per picture. Its captions are made of English words,
depend on the picture and on the prompt, and mean nothing.

Random weights are drawn here and not by transformers, whose defaults make a fresh InstructBLIP blind:
`InstructBlipVisionConfig.initializer_range` is 1e-10 and `query_tokens` are zeros (measured with 5.23).
"""

import hashlib
import os
import shutil
import tempfile
from math import prod, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from captions.checkpoints import require_complete
from captions.quiet import quiet_transformers
from mvcap.errors import ModelUnavailableError

if TYPE_CHECKING:
    from transformers import InstructBlipConfig

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

PROMPT_WORDS: Final = ("Write", "description", "for", "image", "noting", "that", "main", "instance")
"""Further words of the prompts, which are read and never written."""

CHARACTERS: Final = tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-'&/().,")
"""Spelling for every other word of a prompt, such as an unknown category."""

IMAGE_TOKEN: Final = "<image>"
QUERY_TOKENS: Final = 8
WIDTH: Final = 64
IMAGE_SIZE: Final = 64
"""Pixels on a side; patches of 16 make 16 of them."""

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
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    cache = os.environ.get("MVCAP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mvcap"
    return build_untrained_checkpoint(
        Path(cache).expanduser() / "models" / f"untrained-instructblip-{recipe}-{seed}", seed=seed
    )


def build_untrained_checkpoint(folder: Path, *, seed: int = 0) -> Path:
    """Write the checkpoint to `folder` unless it is already there, and return `folder`.

    Safe with several processes at once: each builds in a folder of its own, the first rename wins and
    the others are dropped. The weights are a pure function of the seed.

    Raises:
        ModelUnavailableError: the folder exists and is not a complete checkpoint, or cannot be written.
    """
    if folder.is_dir():
        require_complete(folder, str(folder))
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ModelUnavailableError(
            f"the untrained model cannot be written to {folder.parent}: {error}; "
            "set MVCAP_CACHE to a folder that can"
        ) from error
    try:
        _write_checkpoint(temporary, seed)
        _publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    require_complete(folder, str(folder))
    return folder


def _publish(temporary: Path, folder: Path) -> None:
    """Rename a finished folder into place, unless another process was faster."""
    for path in (temporary, *temporary.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # mkdtemp and safetensors shut other users out
        _flush_to_disk(path)
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    else:
        _flush_to_disk(folder.parent)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_checkpoint(folder: Path, seed: int) -> None:
    processor = _build_processor()
    processor.save_pretrained(folder)
    model = _build_model(processor, seed)
    with quiet_transformers():
        model.save_pretrained(folder)
    card = MODEL_CARD.format(seed=seed, parameters=f"{model.num_parameters():,}", words=len(CAPTION_WORDS))
    (folder / "README.md").write_text(card, encoding="utf-8")


def _build_processor() -> Any:
    """Build the `InstructBlipProcessor`: Pillow resizing to 64 px, a T5 and a Bert tokenizer."""
    import transformers

    library: Any = transformers  # which types its constructors only in part
    return library.InstructBlipProcessor(
        image_processor=library.BlipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}),
        tokenizer=_build_language_tokenizer(),
        qformer_tokenizer=_build_qformer_tokenizer(),
        num_query_tokens=QUERY_TOKENS,
    )


def _build_language_tokenizer() -> Any:
    """Build a T5 tokenizer of whole words; other words fall back to characters.

    Unigram picks the pieces with the largest sum of scores, so that a known word (-1) always beats its
    spelling (-10 per character).
    """
    from transformers import T5Tokenizer

    scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -5.0)]
    scores += [(f"▁{word}", -1.0) for word in CAPTION_WORDS + PROMPT_WORDS]
    scores += [(character, -10.0) for character in CHARACTERS]
    return T5Tokenizer(vocab=scores, extra_ids=0)


def _build_qformer_tokenizer() -> Any:
    """Build a Bert tokenizer of the same words, in lower case, with characters as fallback."""
    from transformers import BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]
    pieces += [word.lower() for word in CAPTION_WORDS + PROMPT_WORDS]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary)


def _build_model(processor: Any, seed: int) -> Any:
    import torch
    from transformers import InstructBlipForConditionalGeneration

    with torch.random.fork_rng(devices=[]):  # what transformers draws is drawn again below
        model = InstructBlipForConditionalGeneration(_build_config(processor))
    head: Any = model.language_model.lm_head
    # As in Flan-T5, the output words are not the input words; transformers ties them in a fresh model.
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    _draw_weights(model, np.random.default_rng(seed))
    _steer_towards_short_captions(model, processor.tokenizer)
    return model


def _build_config(processor: Any) -> "InstructBlipConfig":
    from transformers import InstructBlipConfig

    shape = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    return InstructBlipConfig(
        vision_config={**shape, "image_size": IMAGE_SIZE, "patch_size": 16, "initializer_range": 0.02},
        qformer_config={
            **shape,
            "vocab_size": len(processor.qformer_tokenizer),
            "cross_attention_frequency": 1,
        },
        text_config={
            "model_type": "t5",
            "vocab_size": len(processor.tokenizer),
            "d_model": WIDTH,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
            "decoder_start_token_id": processor.tokenizer.pad_token_id,
        },
        num_query_tokens=QUERY_TOKENS,
        image_token_index=processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
    )


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
