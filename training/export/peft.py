"""The low-rank additions alone, for PEFT on the pretrained model in transformers' layout."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from mvcap.errors import UsageError
from mvcap.plugins import missing_extra
from training.assembling import make_student
from training.checkpoints import load_trained
from training.dual_encoder import DualEncoder
from training.export.clip_layout import require_plain_clip
from training.export.extra import write_viformer
from training.lora import LoRALinear
from training.runs import load_run

PREFIX: Final = "base_model.model"
WEIGHTS: Final = "adapter_model.safetensors"


def export(run: Path, folder: Path, *, interpolate: float) -> None:
    """Write a folder for `PeftModel.from_pretrained(clip_model, FOLDER)`.

    Where one projection of open_clip's makes queries, keys and values, each gets its third of B and all of A,
    which is the same sum.

    Raises:
        UsageError: the run trained weights that are no low-rank additions, or the model cannot be held.
        MissingExtraError: PEFT is not installed.
    """
    config, encoder, checkpoint = load_run(run)
    if "full" in (config.tune.image, config.tune.text):
        raise UsageError(f"{run} tuned whole towers: an adapter cannot hold that; --format transformers can")
    if config.model.backend == "open_clip":
        require_plain_clip(encoder.network)
    student = make_student(encoder, config)
    load_trained(checkpoint, student)
    tensors = dict(_tensors(encoder))
    # B carries the interpolation, in which the sum is linear.
    state = {name: value * (interpolate if "lora_B" in name else 1.0) for name, value in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous().clone() for name, value in state.items()}, folder / WEIGHTS)
    targets = sorted({name.removeprefix(f"{PREFIX}.").rpartition(".lora_")[0] for name in state})
    _write_config(folder, targets, config.tune.rank, config.tune.alpha)
    if student.viformer is not None:
        student.viformer.alpha *= interpolate
    write_viformer(student, folder)


def _write_config(folder: Path, targets: list[str], rank: int, alpha: float) -> None:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise missing_extra("an adapter", error) from error
    library: Any = peft
    config = library.LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, bias="none")
    config.inference_mode = True
    config.save_pretrained(folder)


def _tensors(encoder: DualEncoder) -> Iterator[tuple[str, Tensor]]:
    """Yield A and B of every adapted layer under PEFT's names."""
    for name, module in encoder.network.named_modules():
        if not isinstance(module, LoRALinear):
            continue
        for place, b in _places(name, module):
            yield f"{PREFIX}.{place}.lora_A.weight", module.lora_a.detach()
            yield f"{PREFIX}.{place}.lora_B.weight", b


def _places(name: str, module: LoRALinear) -> Iterator[tuple[str, Tensor]]:
    """Yield where a layer is in transformers' layout, and its B; three places for one of open_clip's."""
    b = module.lora_b.detach()
    if ".resblocks." not in name:
        yield name, b
        return
    tower = "vision_model" if name.startswith("visual.") else "text_model"
    index = name.partition(".resblocks.")[2].partition(".")[0]
    for letter, part in zip("qkv", torch.chunk(b, 3), strict=True):
        yield f"{tower}.encoder.layers.{index}.self_attn.{letter}_proj", part
