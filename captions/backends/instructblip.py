"""InstructBLIP with a T5, through transformers: the captioner of the paper.

Two names run the same code in milliseconds per picture. `tiny` is the small trained checkpoint that mvcap
ships (`captions/tiny/checkpoint`): it names the prompt's category, a colour and a point of view, and knows
nothing else. `untrained` is one with random weights (`captions.tiny.untrained`), built on first use, whose
captions mean nothing.
"""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import PIL
import tokenizers
import torch
import transformers
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from transformers import GenerationConfig, InstructBlipForConditionalGeneration, InstructBlipProcessor

from captions.batches import ShrinkingBatches
from captions.checkpoints import (
    Checkpoint,
    check_model,
    find_checkpoint,
    require_complete,
    weights_sha256,
)
from captions.quiet import quiet_transformers
from captions.stage import Captioner, Json
from captions.tiny.untrained import cached_untrained_checkpoint
from mvcap.errors import ModelUnavailableError

UNTRAINED: Final = "untrained"
TINY: Final = "tiny"
TINY_FOLDER: Final = Path(__file__).resolve().parents[1] / "tiny" / "checkpoint"

IMAGE_BACKEND: Final = "pil"
"""transformers 5 picks torchvision where it is installed, else Pillow, and the two differ by one grey
level in 0.4 % of the values (512 to 224 px, measured 2026-11-23). The official script resized with
Pillow (LAVIS), and Pillow is always there: one backend everywhere."""

PROMPT_TOKENS: Final = 128
"""LAVIS's `max_txt_len`: longer prompts are cut."""


class Options(BaseModel):
    """Which model, where it runs, and how it writes: the paper's settings (SOURCES.md §1, LAVIS)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "Salesforce/instructblip-flan-t5-xl"
    """Name on the hub, a local folder, `tiny`, or `untrained`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is its main branch. The commit is part of the identity."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 on a GPU that has it, else float32. T5 overflows in float16."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    num_beams: int = Field(5, ge=1)
    max_new_tokens: int = Field(32, ge=1)
    """LAVIS calls this `max_length`; transformers' own `max_length` is something else."""
    min_length: int = Field(1, ge=0)
    """Counts the decoder's start token, as in the official run: 1 asks for nothing."""
    repetition_penalty: float = Field(1.5, gt=0)
    length_penalty: float = -1.0
    """Below 0 favours short captions."""
    do_sample: Literal[False] = False
    """Sampling would make a caption depend on its batch and its worker."""


def check(options: Options) -> None:
    """Make sure in seconds, without loading it, that the model can be had.

    Raises:
        ModelUnavailableError: it cannot, or the device is missing; the message says what to do.
    """
    _choose_device(options.device)
    if options.model == TINY:
        require_complete(TINY_FOLDER, TINY)
    elif options.model != UNTRAINED:
        check_model(options.model, options.revision)


def create(options: Options) -> Captioner:
    """Load the model, downloading it first where it is on the hub only.

    Raises:
        ModelUnavailableError: it cannot be found, fetched, or used.
    """
    return InstructBlipCaptioner(_find(options), options)


class InstructBlipCaptioner:
    """A loaded InstructBLIP. In float32 on a CPU a caption depends on nothing but picture and prompt."""

    def __init__(self, checkpoint: Checkpoint, options: Options) -> None:
        self._device = _choose_device(options.device)
        self._dtype = _choose_dtype(options.dtype, self._device)
        self._processor = _load_processor(checkpoint)
        self._model: Any = _load_model(checkpoint, self._dtype).to(self._device)
        self._generation = _generation_config(options, self._model.config.text_config)
        self._batches = ShrinkingBatches(self._generate, torch.OutOfMemoryError)
        self._identity = _identity(checkpoint, options, self._dtype, self._device)

    @property
    def identity(self) -> Mapping[str, Json]:
        return self._identity

    @property
    def largest_batch(self) -> int | None:
        """Most pictures that the device has been seen to bear; None while memory has sufficed."""
        return self._batches.limit

    def caption(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        """Write the captions of RGB pictures, in order; halve the batch where memory runs out."""
        # A single prompt for N pictures would pass the processor and crash in `generate`.
        return self._batches(list(zip(images, prompts, strict=True)))

    def _generate(self, batch: Sequence[tuple[Image.Image, str]]) -> list[str]:
        inputs = self._processor(
            images=[image for image, _ in batch],
            text=[prompt for _, prompt in batch],
            padding="longest",
            truncation=True,
            # The processor takes the query tokens off this for the T5, and not for the Q-Former.
            max_length=PROMPT_TOKENS + self._processor.num_query_tokens,
            return_tensors="pt",
        ).to(self._device)
        with torch.inference_mode():
            tokens = self._model.generate(**inputs, generation_config=self._generation)  # (B, T)
        captions = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]

    def close(self) -> None:
        """Free the model's memory."""
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _find(options: Options) -> Checkpoint:
    if options.model == UNTRAINED:
        return Checkpoint(cached_untrained_checkpoint(), UNTRAINED, None)
    if options.model == TINY:
        require_complete(TINY_FOLDER, TINY)
        return Checkpoint(TINY_FOLDER, TINY, None)
    return find_checkpoint(options.model, options.revision)


def _choose_device(name: str) -> torch.device:
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ModelUnavailableError(
            "the captioner's device is cuda, but torch sees no GPU; use device=auto or cpu"
        )
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def _choose_dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def _load_processor(checkpoint: Checkpoint) -> Any:
    """Load tokenizers and image processor from the folder alone."""
    load: Any = InstructBlipProcessor.from_pretrained
    processor = load(checkpoint.folder, local_files_only=True, trust_remote_code=False, backend=IMAGE_BACKEND)
    for tokenizer in (processor.tokenizer, processor.qformer_tokenizer):
        if tokenizer.padding_side != "right":
            raise ModelUnavailableError(
                f"the model {checkpoint.name} has a tokenizer that pads on the {tokenizer.padding_side}: "
                "captions would depend on the other prompts of their batch; "
                'set "padding_side": "right" in its tokenizer_config.json'
            )
    return processor


def _load_model(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """Load the weights, which must be safetensors and complete: transformers fills gaps with noise."""
    load: Any = InstructBlipForConditionalGeneration.from_pretrained
    with quiet_transformers():
        model, report = load(
            checkpoint.folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    if gaps := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        raise ModelUnavailableError(
            f"the model {checkpoint.name} lacks {len(gaps)} weights or has them in another shape, "
            f"such as {gaps[0]}"
        )
    return model.eval()


def _generation_arguments(options: Options) -> dict[str, Json]:
    """List every argument that shapes a caption, those that LAVIS leaves at their defaults included."""
    return {
        "num_beams": options.num_beams,
        "max_new_tokens": options.max_new_tokens,
        "min_length": options.min_length,
        "repetition_penalty": options.repetition_penalty,
        "length_penalty": options.length_penalty,
        "do_sample": options.do_sample,
        "early_stopping": False,
        "no_repeat_ngram_size": 0,
        "num_return_sequences": 1,
        "use_cache": True,
    }


def _generation_config(options: Options, text_config: Any) -> Any:
    """Build the whole generation config, so that nothing depends on what the checkpoint stores."""
    build: Any = GenerationConfig
    return build(
        **_generation_arguments(options),
        pad_token_id=text_config.pad_token_id,
        eos_token_id=text_config.eos_token_id,
        decoder_start_token_id=text_config.decoder_start_token_id,
    )


def _identity(
    checkpoint: Checkpoint, options: Options, dtype: torch.dtype, device: torch.device
) -> dict[str, Json]:
    """Describe all that the captions depend on; a local folder's weights by their hash."""
    return {
        "backend": "instructblip",
        "model": checkpoint.name,
        "untrained": options.model == UNTRAINED,
        "toy": options.model == TINY,
        "commit": checkpoint.commit,
        "weights_sha256": weights_sha256(checkpoint.folder) if checkpoint.commit is None else None,
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "image_backend": IMAGE_BACKEND,
        "prompt_tokens": PROMPT_TOKENS,
        "generation": _generation_arguments(options),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
            "pillow": PIL.__version__,
        },
    }
