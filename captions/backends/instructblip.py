"""InstructBLIP with a T5, through transformers: the captioner of the paper.

Two names run the same code in milliseconds per picture. `tiny` is the small trained checkpoint that mvcap
ships (`captions/tiny/checkpoint`): it names the prompt's category, a colour and a point of view, and knows
nothing else. `untrained` is one with random weights (`captions.tiny.untrained`), built on first use, whose
captions mean nothing.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from transformers import GenerationConfig, InstructBlipForConditionalGeneration, InstructBlipProcessor

from captions.batches import ShrinkingBatches
from captions.beam_cache import beam_cache
from captions.captioner import Captioner, Json, Picture
from captions.checkpoints import (
    Checkpoint,
    check_model,
    find_checkpoint,
    require_complete,
    weights_sha256,
)
from captions.loading import (
    IMAGE_BACKEND,
    Device,
    Dtype,
    choose_device,
    choose_dtype,
    device_faults_named,
    load_model,
    versions,
)
from captions.tiny.untrained import cached_untrained_checkpoint
from mvcap.errors import ModelUnavailableError

UNTRAINED: Final = "untrained"
TINY: Final = "tiny"
TINY_FOLDER: Final = Path(__file__).resolve().parents[1] / "tiny" / "checkpoint"

PROMPT_TOKENS: Final = 128
"""LAVIS's `max_txt_len`: longer prompts are cut."""

SECOND_MIN_LENGTH: Final = 6
"""Tokens, the start token among them, of a caption written again: about three words and the end."""


class Options(BaseModel):
    """Which model, where it runs, and how it writes: the paper's settings (SOURCES.md §1, LAVIS)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "Salesforce/instructblip-flan-t5-xl"
    """Name on the hub, a local folder, `tiny`, or `untrained`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is its main branch. The commit is part of the identity."""
    dtype: Dtype = "auto"
    device: Device = "auto"
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
    choose_device(options.device)
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
        self._device = choose_device(options.device)
        self._dtype = choose_dtype(options.dtype, self._device)
        self._processor = _load_processor(checkpoint)
        model = load_model(InstructBlipForConditionalGeneration, checkpoint, self._dtype)
        self._model: Any = model.to(self._device)
        first, second = (
            _generation_config(arguments, self._model.config.text_config)
            for arguments in (_generation_arguments(options), _second_arguments(options))
        )
        self._batches = ShrinkingBatches(partial(self._generate, first), torch.OutOfMemoryError)
        self._second_batches = ShrinkingBatches(partial(self._generate, second), torch.OutOfMemoryError)
        self._identity = _identity(checkpoint, options, self._dtype, self._device)

    @property
    def identity(self) -> Mapping[str, Json]:
        return self._identity

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """Resize and normalise an RGB picture: (3, H, W) float32."""
        pixels: torch.Tensor = self._processor.image_processor(image, return_tensors="pt")["pixel_values"][0]
        return pixels

    def caption(self, images: Sequence[Picture], prompts: Sequence[str]) -> list[str]:
        """Write the captions of pictures, in order; halve the batch where memory runs out."""
        return self._batches(self._pairs(images, prompts))

    def caption_again(self, images: Sequence[Picture], prompts: Sequence[str]) -> list[str]:
        """Write captions that do not loop, have room to end, and say a few words."""
        return self._second_batches(self._pairs(images, prompts))

    def _pairs(self, images: Sequence[Picture], prompts: Sequence[str]) -> list[tuple[torch.Tensor, str]]:
        pixels = (image if isinstance(image, torch.Tensor) else self.prepare(image) for image in images)
        # A single prompt for N pictures would pass the tokenizers and crash in `generate`.
        return list(zip(pixels, prompts, strict=True))

    def _generate(self, generation: Any, batch: Sequence[tuple[torch.Tensor, str]]) -> list[str]:
        inputs = self._encode([prompt for _, prompt in batch])
        inputs["pixel_values"] = torch.stack([pixels for pixels, _ in batch])  # (B, 3, H, W)
        with device_faults_named(self._device), torch.inference_mode():
            tokens = self._model.generate(  # (B, T)
                **{name: tensor.to(self._device) for name, tensor in inputs.items()},
                generation_config=generation,
                **beam_cache(self._model.language_model),
            )
        captions = self._processor.batch_decode(tokens, skip_special_tokens=True)
        return [caption.strip() for caption in captions]

    def _encode(self, prompts: list[str]) -> dict[str, torch.Tensor]:
        """Tokenize prompts for the T5 and the Q-Former, and put the picture's place before the former.

        The processor does the same where it is given pictures, which `prepare` has processed by then.
        """
        queries = self._processor.num_query_tokens
        encoded = self._processor(
            text=prompts,
            padding="longest",
            truncation=True,
            # The processor takes the query tokens off this for the T5, and not for the Q-Former.
            max_length=PROMPT_TOKENS + queries,
            return_tensors="pt",
        )
        place = torch.full((len(prompts), queries), self._model.config.image_token_index)
        return {
            **encoded,
            "input_ids": torch.cat([place, encoded["input_ids"]], dim=1),  # (B, Q + T)
            "attention_mask": torch.cat([torch.ones_like(place), encoded["attention_mask"]], dim=1),
        }

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


def _second_arguments(options: Options) -> dict[str, Json]:
    """List the arguments of the second attempt: other words, more room for an end, and at least a few."""
    return _generation_arguments(options) | {
        "no_repeat_ngram_size": 2,
        "max_new_tokens": 2 * options.max_new_tokens,
        "min_length": max(options.min_length, SECOND_MIN_LENGTH),
    }


def _generation_config(arguments: Mapping[str, Json], text_config: Any) -> Any:
    """Build the whole generation config, so that nothing depends on what the checkpoint stores."""
    build: Any = GenerationConfig
    return build(
        **arguments,
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
        "toy": checkpoint.folder.resolve() == TINY_FOLDER,
        "commit": checkpoint.commit,
        "weights_sha256": weights_sha256(checkpoint.folder) if checkpoint.commit is None else None,
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "image_backend": IMAGE_BACKEND,
        "prompt_tokens": PROMPT_TOKENS,
        "generation": _generation_arguments(options),
        "second_generation": _second_arguments(options),
        "versions": versions(),
    }
