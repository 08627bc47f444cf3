"""Load a model through transformers: which device, which dtype, and weights that are all there."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import PIL
import tokenizers
import torch
import transformers
from safetensors import SafetensorError

from captions.captioner import Json
from captions.checkpoints import Checkpoint
from mvcap.errors import DeviceFaultError, ModelUnavailableError
from mvcap.quiet import quiet_transformers

Dtype = Literal["auto", "float32", "bfloat16"]
"""`auto` is bfloat16 on a GPU that has it, else float32. T5 overflows in float16."""
Device = Literal["auto", "cpu", "cuda"]

IMAGE_BACKEND: Final = "pil"
"""transformers 5 picks torchvision where it is installed, else Pillow, and the two differ by one grey
level in 0.4 % of the values (512 to 224 px, measured 2026-11-23). The official script resized with
Pillow (LAVIS), and Pillow is always there: one backend everywhere."""


def choose_device(name: Device) -> torch.device:
    """Take the GPU where there is one and nothing else was asked for.

    Raises:
        ModelUnavailableError: a GPU was asked for, and torch sees none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ModelUnavailableError(
            "the captioner's device is cuda, but torch sees no GPU; use device=auto or cpu"
        )
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def choose_dtype(name: Dtype, device: torch.device) -> torch.dtype:
    """Resolve `auto`, which never means float16."""
    if name == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def load_model(model_class: Any, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """Load the weights, which must be safetensors and complete: transformers fills gaps with noise.

    Raises:
        ModelUnavailableError: some are missing, of another shape, or cannot be read.
    """
    try:
        with quiet_transformers():
            model, report = model_class.from_pretrained(
                checkpoint.folder,
                dtype=dtype,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except SafetensorError as error:
        raise ModelUnavailableError(f"the weights of {checkpoint.name} are damaged: {error}") from error
    if gaps := sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"])):
        raise ModelUnavailableError(
            f"the model {checkpoint.name} lacks {len(gaps)} weights or has them in another shape, "
            f"such as {gaps[0]}"
        )
    return model.eval()


@contextmanager
def device_faults_named(device: torch.device) -> Iterator[None]:
    """Tell a fault of the device from an error of the model; running out of memory is neither.

    Raises:
        DeviceFaultError: the device reported one: its process must end, for every further call would fail.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if "CUDA error" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise DeviceFaultError(
            f"the captioner's {device.type} device failed: {reason}; the same command goes on from the "
            "committed shards"
        ) from error


def versions() -> dict[str, Json]:
    """List the versions of all that takes part in a caption."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "pillow": PIL.__version__,
    }
