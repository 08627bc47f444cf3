"""Any checkpoint of transformers that turns picture and text into text: LLaVA, Qwen-VL, SmolVLM, ...

For large models a server is faster: see `openai`. Here decoding runs ahead of the device, and the processor
of the model, of which each has its own, runs in turn with it.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Self

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    GenerationConfig,
    LogitsProcessorList,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from captions.batches import ShrinkingBatches
from captions.captioner import Captioner, Json, Picture
from captions.checkpoints import Checkpoint, Kind, check_model, find_checkpoint, weights_sha256
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
from captions.no_repeat import NoRepeatInContinuation
from mvcap.errors import ModelUnavailableError

PROMPT: Final = "{prompt}"

SECOND_MIN_NEW_TOKENS: Final = 5
"""Of a caption written again: about three words and the end."""
SECOND_NGRAM: Final = 3
"""Tokens that return nowhere in a caption written again. Of two, as InstructBLIP has it, the sentences that
chat models write could not say `of the` twice."""


class Options(BaseModel):
    """Which model, where it runs, and how it writes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "HuggingFaceTB/SmolVLM-500M-Instruct"
    """Name on the hub, or a local folder."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None is its main branch. The commit is part of the identity."""
    dtype: Dtype = "auto"
    device: Device = "auto"
    template: str = PROMPT
    """What stands around the prompt where the processor has no chat template of its own, such as
    `USER: <image> {prompt} ASSISTANT:`."""
    num_beams: int = Field(1, ge=1)
    max_new_tokens: int = Field(64, ge=1)
    repetition_penalty: float = Field(1.0, gt=0)
    do_sample: Literal[False] = False
    """Sampling would make a caption depend on its batch and its worker."""

    @field_validator("template")
    @classmethod
    def _require_place_for_the_prompt(cls, template: str) -> str:
        if PROMPT not in template:
            raise ValueError(f"must hold {PROMPT}")
        return template


def check(options: Options) -> None:
    """Make sure in seconds, without loading it, that the model can be had.

    Raises:
        ModelUnavailableError: it cannot, or the device is missing; the message says what to do.
    """
    choose_device(options.device)
    check_model(options.model, options.revision, kind=IMAGE_TEXT_TO_TEXT)


def create(options: Options) -> Captioner:
    """Load the model, downloading it first where it is on the hub only.

    Raises:
        ModelUnavailableError: it cannot be found, fetched, or used.
    """
    return HfCaptioner(find_checkpoint(options.model, options.revision, IMAGE_TEXT_TO_TEXT), options)


class HfCaptioner:
    """A loaded model. In float32 on a CPU a caption depends on nothing but picture and prompt."""

    def __init__(self, checkpoint: Checkpoint, options: Options) -> None:
        self._device = choose_device(options.device)
        self._dtype = choose_dtype(options.dtype, self._device)
        self._options = options
        model = load_model(AutoModelForImageTextToText, checkpoint, self._dtype)
        self._model: Any = model.to(self._device)
        self._processor = _load_processor(checkpoint, decoder_only=_is_decoder_only(model.config))
        first, second = (
            _generation_config(arguments, model.generation_config)
            for arguments in (_generation_arguments(options), _second_arguments(options))
        )
        self._model.generation_config = first  # `generate` would fill gaps from the checkpoint's
        self._batches = ShrinkingBatches(partial(self._generate, first, None), torch.OutOfMemoryError)
        self._second_batches = ShrinkingBatches(
            partial(self._generate, second, SECOND_NGRAM), torch.OutOfMemoryError
        )
        self._identity = _identity(checkpoint, options, self._dtype, self._device, self._processor)

    @property
    def identity(self) -> Mapping[str, Json]:
        return self._identity

    def prepare(self, image: Image.Image) -> Image.Image:
        """Leave a picture as it is: the processor wants picture and text together."""
        return image

    def caption(self, images: Sequence[Picture], prompts: Sequence[str]) -> list[str]:
        """Write the captions of RGB pictures, in order; halve the batch where memory runs out."""
        return self._batches(list(zip(images, prompts, strict=True)))

    def caption_again(self, images: Sequence[Picture], prompts: Sequence[str]) -> list[str]:
        """Write captions that do not loop, have room to end, and say a few words."""
        return self._second_batches(list(zip(images, prompts, strict=True)))

    def _generate(
        self, generation: Any, ngram: int | None, batch: Sequence[tuple[Image.Image, str]]
    ) -> list[str]:
        texts = [self._text(prompt) for _, prompt in batch]
        # One list of pictures for each text: a flat list means other things to other processors.
        images = [[image] for image, _ in batch]
        inputs = self._processor(images=images, text=texts, padding=True, return_tensors="pt")
        processors = LogitsProcessorList([NoRepeatInContinuation(ngram)] if ngram else [])
        with device_faults_named(self._device), torch.inference_mode():
            inputs = inputs.to(self._device, self._dtype)  # which leaves whole numbers as they are
            tokens = self._model.generate(  # (B, T)
                **inputs, generation_config=generation, logits_processor=processors
            )
        return [self._caption(row, prompt) for row, prompt in zip(tokens, inputs["input_ids"], strict=True)]

    def _text(self, prompt: str) -> str:
        """Put a prompt into the words that the model was trained with."""
        if not getattr(self._processor, "chat_template", None):
            return self._options.template.replace(PROMPT, prompt)
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        text: str = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return text

    def _caption(self, tokens: torch.Tensor, prompt: torch.Tensor) -> str:
        """Decode what was written; some models repeat their prompt before it, as tokens or as words."""
        if torch.equal(tokens[: len(prompt)], prompt):
            tokens = tokens[len(prompt) :]
        decode = self._processor.tokenizer.decode
        repeated = decode(prompt, skip_special_tokens=True).strip()
        caption: str = decode(tokens, skip_special_tokens=True).strip()
        return caption.removeprefix(repeated).strip()

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


def _require_image_text_to_text(config: Mapping[str, Any], model: str) -> None:
    """Refuse other architectures, and those whose code lies in the checkpoint."""
    kind = config.get("model_type")
    if kind not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        own_code = "; its own code is never run" if "auto_map" in config else ""
        raise ModelUnavailableError(
            f"the model {model} is of type {kind!r}, which transformers does not know as one that turns "
            f"pictures and text into text{own_code}; serve it, and use the captioner openai"
        )


IMAGE_TEXT_TO_TEXT: Final = Kind(
    {
        "config.json": {"config.json"},
        "model.safetensors": {"model.safetensors", "model.safetensors.index.json"},
        "preprocessor_config.json": {"preprocessor_config.json", "processor_config.json"},
        "tokenizer.json": {"tokenizer.json", "tokenizer.model", "spiece.model", "vocab.txt", "vocab.json"},
    },
    _require_image_text_to_text,
)


def _is_decoder_only(config: Any) -> bool:
    """Tell from the configuration, in which either the whole or the language model has an encoder."""
    parts = (config, config.get_text_config())
    return not any(getattr(part, "is_encoder_decoder", False) for part in parts)


def _load_processor(checkpoint: Checkpoint, *, decoder_only: bool) -> Any:
    """Load tokenizer and image processor from the folder alone, and pad where the model needs it.

    A decoder continues what stands last, so that padding on the right would be continued; an encoder
    counts positions from the left.

    Raises:
        ModelUnavailableError: the processor cannot be loaded, or its code lies in the checkpoint.
    """
    load: Any = AutoProcessor.from_pretrained
    try:
        processor = load(
            checkpoint.folder, local_files_only=True, trust_remote_code=False, backend=IMAGE_BACKEND
        )
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].replace(str(checkpoint.folder), checkpoint.name)
        raise ModelUnavailableError(
            f"the processor of the model {checkpoint.name} cannot be loaded, and code that lies in a "
            f"checkpoint is never run: {reason}"
        ) from error
    processor.tokenizer.padding_side = "left" if decoder_only else "right"
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def _generation_arguments(options: Options) -> dict[str, Json]:
    return {
        "num_beams": options.num_beams,
        "max_new_tokens": options.max_new_tokens,
        "min_new_tokens": 0,
        "repetition_penalty": options.repetition_penalty,
        "length_penalty": 1.0,
        "do_sample": options.do_sample,
        "early_stopping": False,
        "no_repeat_ngram_size": 0,
        "num_return_sequences": 1,
        "use_cache": True,
    }


def _second_arguments(options: Options) -> dict[str, Json]:
    """List the arguments of the second attempt: more room for an end, and at least a few words."""
    return _generation_arguments(options) | {
        "max_new_tokens": 2 * options.max_new_tokens,
        "min_new_tokens": SECOND_MIN_NEW_TOKENS,
    }


def _generation_config(arguments: Mapping[str, Json], stored: Any) -> Any:
    """Build the whole generation config; the checkpoint says only which tokens are special."""
    build: Any = GenerationConfig
    special = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    return build(**arguments, **{name: getattr(stored, name, None) for name in special})


def _identity(
    checkpoint: Checkpoint, options: Options, dtype: torch.dtype, device: torch.device, processor: Any
) -> dict[str, Json]:
    """Describe all that the captions depend on; a local folder's weights by their hash."""
    return {
        "backend": "hf",
        "model": checkpoint.name,
        "commit": checkpoint.commit,
        "weights_sha256": weights_sha256(checkpoint.folder) if checkpoint.commit is None else None,
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "image_processor": type(processor.image_processor).__name__,
        "padding_side": processor.tokenizer.padding_side,
        "template": "the processor's chat template"
        if getattr(processor, "chat_template", None)
        else options.template,
        "generation": _generation_arguments(options),
        "second_generation": {
            **_second_arguments(options),
            "no_repeat_ngram_size_of_new_tokens": SECOND_NGRAM,
        },
        "versions": versions(),
    }
