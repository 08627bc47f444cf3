"""What the small InstructBLIPs share: tokenizers of whole words, processor, configuration, files."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from captions.checkpoints import require_complete
from mvcap.errors import ModelUnavailableError
from mvcap.files import sync
from mvcap.quiet import quiet_transformers

if TYPE_CHECKING:
    from transformers import InstructBlipConfig

PROMPT_WORDS: Final = ("Write", "description", "for", "image", "noting", "that", "main", "instance")
"""Further words of the prompts, which are read and never written."""

CHARACTERS: Final = tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-'&/().,")
"""Spelling for every other word of a prompt, such as an unknown category."""

IMAGE_TOKEN: Final = "<image>"


@dataclass(frozen=True, slots=True)
class Size:
    """How large a small InstructBLIP is; all of its parts are equally wide."""

    width: int
    vision_layers: int
    text_layers: int
    """Of the Q-Former, and of the T5's encoder and decoder each."""
    image_size: int
    """Pixels on a side."""
    patch_size: int
    query_tokens: int = 8


def build_processor(words: Sequence[str], size: Size, *, white_is_zero: bool = False) -> Any:
    """Build the `InstructBlipProcessor`: Pillow's resizing, a T5 and a Bert tokenizer of whole words.

    Args:
        white_is_zero: normalise levels so that a white background says nothing to the patches; else as
            InstructBLIP does.
    """
    import transformers

    library: Any = transformers  # which types its constructors only in part
    pixels = {"height": size.image_size, "width": size.image_size}
    levels = {"image_mean": [1.0] * 3, "image_std": [0.5] * 3} if white_is_zero else {}
    return library.InstructBlipProcessor(
        image_processor=library.BlipImageProcessorPil(size=pixels, **levels),
        tokenizer=_build_language_tokenizer(words),
        qformer_tokenizer=_build_qformer_tokenizer(words),
        num_query_tokens=size.query_tokens,
    )


def _build_language_tokenizer(words: Sequence[str]) -> Any:
    """Build a T5 tokenizer of whole words; other words fall back to characters.

    Unigram picks the pieces with the largest sum of scores, so that a known word (-1) always beats its
    spelling (-10 per character).
    """
    from transformers import T5Tokenizer

    scores = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -5.0)]
    scores += [(f"▁{word}", -1.0) for word in words]
    scores += [(character, -10.0) for character in CHARACTERS]
    return T5Tokenizer(vocab=scores, extra_ids=0)


def _build_qformer_tokenizer(words: Sequence[str]) -> Any:
    """Build a Bert tokenizer of the same words, in lower case, with characters as fallback."""
    from transformers import BertTokenizer

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *(f"##{c}" for c in CHARACTERS)]
    pieces += [word.lower() for word in words]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocabulary)


def build_config(processor: Any, size: Size) -> "InstructBlipConfig":
    """Describe a model of this size for the processor's vocabulary."""
    from transformers import InstructBlipConfig

    shape = {"hidden_size": size.width, "num_attention_heads": 4, "intermediate_size": 2 * size.width}
    return InstructBlipConfig(
        vision_config={
            **shape,
            "num_hidden_layers": size.vision_layers,
            "image_size": size.image_size,
            "patch_size": size.patch_size,
            "initializer_range": size.width**-0.5,  # transformers' own 1e-10 makes a fresh model blind
        },
        qformer_config={
            **shape,
            "num_hidden_layers": size.text_layers,
            "vocab_size": len(processor.qformer_tokenizer),
            "initializer_range": size.width**-0.5,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "cross_attention_frequency": 1,
        },
        text_config={
            "model_type": "t5",
            "vocab_size": len(processor.tokenizer),
            "d_model": size.width,
            "d_kv": size.width // 4,
            "d_ff": 2 * size.width,
            "num_layers": size.text_layers,
            "num_heads": 4,
            "feed_forward_proj": "gated-gelu",
            "dropout_rate": 0.0,
            "tie_word_embeddings": False,
            "decoder_start_token_id": processor.tokenizer.pad_token_id,
        },
        num_query_tokens=size.query_tokens,
        image_token_index=processor.tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
    )


def build_model(config: "InstructBlipConfig") -> Any:
    """Build the model with transformers' own first weights; the output words are not the input words."""
    import torch
    from transformers import InstructBlipForConditionalGeneration

    model = InstructBlipForConditionalGeneration(config)
    head: Any = model.language_model.lm_head
    # As in Flan-T5; transformers ties them in a fresh model.
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    return model


def save_checkpoint(folder: Path, processor: Any, model: Any, card: str) -> None:
    """Write the files that stock transformers loads, and the model card."""
    processor.save_pretrained(folder)
    with quiet_transformers():
        model.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def publish_checkpoint(folder: Path, write: Callable[[Path], None]) -> Path:
    """Fill a temporary folder and rename it to `folder`, which nobody then sees half written.

    Safe with several processes at once: each fills a folder of its own, the first rename wins and the
    others are dropped.

    Raises:
        ModelUnavailableError: the folder cannot be written, or what stands there is not complete.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ModelUnavailableError(
            f"the small model cannot be written to {folder.parent}: {error}; "
            "set MVCAP_CACHE to a folder that can"
        ) from error
    try:
        write(temporary)
        _rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    require_complete(folder, str(folder))
    return folder


def _rename(temporary: Path, folder: Path) -> None:
    """Rename a finished folder into place, unless another process was faster."""
    for path in (temporary, *temporary.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # mkdtemp and safetensors shut other users out
        sync(path)
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    else:
        sync(folder.parent)
