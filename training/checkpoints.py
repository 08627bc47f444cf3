"""Checkpoints: a folder each, in safetensors and JSON, whole or not at all; nothing is pickled.

```
RUN/checkpoints/step-00001000/
  model.safetensors       what is trained, by name
  optimiser.safetensors   AdamW's moments and step counts, by the same names
  bank.f16                the feature bank, where anchors come from it
  state.json              step, facts of the run, and the checksum of every other file: written last
```
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mvcap import files
from mvcap.errors import CorruptDatasetError
from training.tensor_files import save_tensors

STATE: Final = "state.json"
NAME: Final = re.compile(r"step-(\d{8,})")
STEP: Final = "step"
"""What AdamW calls its count of steps, which it keeps on the CPU; its moments are where the parameter is."""
MODEL, OPTIMISER = "model.safetensors", "optimiser.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint."""

    folder: Path
    step: int
    """Steps done."""
    facts: Mapping[str, Any]


def save_checkpoint(
    run: Path,
    step: int,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    facts: Mapping[str, Any],
    *,
    further: Callable[[Path], None] | None = None,
) -> Path:
    """Write a checkpoint under a temporary name, make it durable, and rename it.

    Args:
        facts: plain JSON values to find again.
        further: writes more files into the folder it is given.

    Raises:
        DiskFullError: there is no room; what was there before stays.
    """
    final = run / "checkpoints" / f"step-{step:08d}"
    folder = files.temporary_name(final)
    try:
        with files.disk_full_explained(final):
            folder.mkdir(parents=True)
            save_tensors(trained_tensors(module), folder / MODEL)
            save_tensors(_optimiser_tensors(module, optimiser), folder / OPTIMISER)
            if further:
                further(folder)
            parts = sorted(folder.iterdir())
            for part in parts:
                files.sync(part)
            checksums = {part.name: files.sha256_of(part) for part in parts}
            files.write_json(folder / STATE, {"step": step, "facts": dict(facts), "sha256": checksums})
            shutil.rmtree(final, ignore_errors=True)  # a torn one of the same step
            folder.rename(final)
            files.sync(final.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return final


def latest_checkpoint(run: Path, say: Callable[[str], None] = lambda _: None) -> Checkpoint | None:
    """Return the latest checkpoint that is whole, telling of those that are not; None without one."""
    for folder in sorted(_folders(run), reverse=True):
        try:
            return read_checkpoint(folder)
        except CorruptDatasetError as error:
            say(f"{error}; going back to the one before")
    return None


def read_checkpoint(folder: Path) -> Checkpoint:
    """Check a checkpoint's files against their checksums.

    Raises:
        CorruptDatasetError: one is missing or damaged.
    """
    try:
        state = json.loads((folder / STATE).read_bytes())
        for name, checksum in state["sha256"].items():
            if files.sha256_of(folder / name) != checksum:
                raise ValueError(f"{name} is damaged")
        return Checkpoint(folder, int(state["step"]), state["facts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptDatasetError(f"the checkpoint {folder} is not whole: {error}") from error


def restore(checkpoint: Checkpoint, module: nn.Module, optimiser: torch.optim.Optimizer | None) -> None:
    """Put everything back: weights, and with an optimiser its state.

    Raises:
        CorruptDatasetError: it belongs to another model.
    """
    load_trained(checkpoint, module)
    if optimiser is None:
        return
    tensors = load_file(checkpoint.folder / OPTIMISER)
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    for name, parameter in parameters.items():
        moments = {
            (kind := key.partition("/")[0]): value.to("cpu" if kind == STEP else parameter.device).clone()
            for key, value in tensors.items()
            if key.partition("/")[2] == name
        }
        if moments:
            optimiser.state[parameter] = moments


def load_trained(checkpoint: Checkpoint, module: nn.Module) -> None:
    """Put the trained weights back.

    Raises:
        CorruptDatasetError: they are another model's.
    """
    try:
        tensors = load_file(checkpoint.folder / MODEL)
    except (OSError, SafetensorError) as error:
        raise CorruptDatasetError(f"cannot read {checkpoint.folder / MODEL}: {error}") from error
    own = trained_tensors(module)
    if own.keys() != tensors.keys() or any(own[name].shape != tensors[name].shape for name in own):
        odd = sorted(own.keys() ^ tensors.keys()) or sorted(own)
        raise CorruptDatasetError(
            f"the checkpoint {checkpoint.folder} is of another model: its trained weights differ, such as "
            f"{odd[0]}"
        )
    with torch.no_grad():
        for name, value in tensors.items():
            own[name].copy_(value)


def forget_old(run: Path, keep: int, *, step: int) -> None:
    """Remove all but the latest checkpoints, and what killed runs left behind.

    Args:
        step: steps done. Checkpoints of later ones are torn: a run that could read them had not gone back.
    """
    folders = sorted(_folders(run))
    known = [folder for folder in folders if _step_of(folder) <= step]
    for folder in {*folders} - {*known[-keep:]}:
        shutil.rmtree(folder)
    for folder in (run / "checkpoints").glob(f"{files.TEMPORARY}*"):
        shutil.rmtree(folder, ignore_errors=True)


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the trainable parameters by name, sharing their memory."""
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}


def _folders(run: Path) -> list[Path]:
    return [path for path in (run / "checkpoints").glob("step-*") if NAME.fullmatch(path.name)]


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _optimiser_tensors(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{key}/{name}": value
        for name, parameter in module.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }
