"""What a run will take, from its recipe, its data and a few pictures timed on this machine.

Weights are not needed, so nothing is fetched: a model of the same shapes does as well.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from mvcap.quantities import duration, quantity
from training.assembling import choose_device, choose_dtype, make_batches, make_student
from training.config import TrainingConfig
from training.data import TrainingData
from training.distributed import World
from training.runs import create_encoder
from training.student import Student
from training.tuning import trainable_parameters

TIMED: Final = 8
"""Pictures in the timed batch."""
GOES: Final = 3
FLOAT: Final = 4
"""Bytes of a float32, in which weights, gradients and both moments of AdamW are kept."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one picture, or one caption, takes."""

    training_s: float
    """Forward and backward."""
    encoding_s: float
    """Forward alone."""
    activation_bytes: float


def estimate_run(config: TrainingConfig, data: TrainingData) -> dict[str, Any]:
    """Return what a run takes as plain values: parameters, steps, memory, disk, time.

    Times are those of one process on this machine, without waiting for pictures where loaders keep up.

    Raises:
        UsageError: the recipe does not fit model or data.
    """
    device = choose_device(config.run.device, World())
    encoder = create_encoder(config.model, weights=False)
    pretrained = sum(parameter.numel() for parameter in encoder.network.parameters())
    student = make_student(encoder, config).to(device)
    if config.run.checkpoint_activations:
        encoder.checkpoint_activations()
    batches = make_batches(config, data, encoder.preprocessing, World())
    dtype = choose_dtype(config.run.precision, device)
    picture, picture_loading_s = _measure_pictures(student, batches.views.load, data, device, dtype)
    caption = _measure_captions(student, data, device, dtype)
    steps, epoch = config.optimiser.steps, batches.sampler.batches_per_epoch
    pictures = config.data.batch + (config.clean.batch if data.clean is not None else 0)
    captions = min(pictures, len(data.captions))
    tunes_texts = config.tune.text != "frozen"
    distils = config.loss.distillation.weight > 0
    at_once = min(config.run.micro_batch or pictures, pictures)
    refreshes = _refreshes(config, steps, epoch)
    passes_without_gradient = (at_once < pictures) + distils
    step_s = pictures * (picture.training_s + passes_without_gradient * picture.encoding_s)
    step_s += captions * caption.training_s if tunes_texts else 0
    loading_s = pictures * picture_loading_s / max(config.run.loaders, 1)
    trained = trainable_parameters(student)
    parameters = sum(parameter.numel() for parameter in student.parameters())
    activations = at_once * picture.activation_bytes
    activations += captions * caption.activation_bytes if tunes_texts else 0
    memory = {
        "weights": FLOAT * (parameters + (pretrained if distils else 0)),
        "gradients_and_optimiser": 3 * FLOAT * trained,
        "activations": round(activations),
        "anchors": FLOAT * len(data.counts) * student.encoder.width if refreshes else 0,
    }
    return {
        "recipe": config.name,
        "trainable_parameters": trained,
        "parameters": parameters,
        "objects": len(data.counts),
        "views": len(data.view_objects),
        "clean_pictures": 0 if data.clean is None else len(data.clean.table),
        "captions": len(data.captions),
        "pictures_per_step": pictures,
        "steps": steps,
        "steps_per_epoch": epoch,
        "maximisations": refreshes,
        "device": str(device),
        "memory_bytes": {**memory, "total": sum(memory.values())},
        "disk_bytes": _disk(config, data, trained, student.encoder.width),
        "time_s": {
            "steps": steps * max(step_s, loading_s if config.run.loaders else step_s + loading_s),
            "maximisation": refreshes * len(data.view_objects) * (picture.encoding_s + picture_loading_s),
            "captions": 0 if tunes_texts else min(len(data.captions), steps * captions) * caption.encoding_s,
            "a_step": step_s,
            "loading_a_batch": loading_s,
        },
    }


def describe(plan: Mapping[str, Any]) -> str:
    """Say a plan in words."""
    memory, spent = plan["memory_bytes"], plan["time_s"]
    total_s = spent["steps"] + spent["maximisation"] + spent["captions"]
    lines = [
        f"{plan['trainable_parameters']:,} trainable parameters of {plan['parameters']:,}",
        f"{quantity(plan['views'], 'view')} of {quantity(plan['objects'], 'object')}, "
        f"{quantity(plan['clean_pictures'], 'clean picture')}, {quantity(plan['captions'], 'caption')}",
        f"{quantity(plan['steps'], 'step')} of {quantity(plan['pictures_per_step'], 'picture')}, "
        f"{plan['steps_per_epoch']:,} an epoch; anchors are made {quantity(plan['maximisations'], 'time')}",
        f"memory of {plan['device']}: {memory['total'] / 1e9:.1f} GB, of which activations "
        f"{memory['activations'] / 1e9:.1f} GB; disk {plan['disk_bytes'] / 1e9:.1f} GB",
        f"{duration(total_s)} on this machine, {spent['a_step']:.2f} s a step (from {TIMED} pictures, "
        "timed now)",
    ]
    return "\n".join(lines)


def _refreshes(config: TrainingConfig, steps: int, epoch: int) -> int:
    if not config.loss.wants_anchors or config.anchors.source == "batch":
        return 0
    return 1 if config.anchors.source == "bank" else -(-steps // (config.anchors.every_steps or epoch))


def _disk(config: TrainingConfig, data: TrainingData, trained: int, width: int) -> int:
    """Return the bytes of bank and checkpoints."""
    makes_anchors = config.loss.wants_anchors and config.anchors.source != "batch"
    bank = 2 * len(data.view_objects) * width if makes_anchors else 0
    anchors = FLOAT * len(data.counts) * width if makes_anchors else 0
    kept = bank if config.anchors.source == "bank" else 0
    return bank + (config.run.checkpoints + 1) * (3 * FLOAT * trained + anchors + kept)


def _measure_pictures(
    student: Student, load: Any, data: TrainingData, device: torch.device, dtype: torch.dtype
) -> tuple[Cost, float]:
    """Return what a picture takes, and the seconds to read and decode one."""
    rows = list(range(min(TIMED, len(data.view_objects))))
    begun = time.perf_counter()
    pixels = load(rows).to(device)
    loading_s = (time.perf_counter() - begun) / len(rows)

    def encode() -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            encoded = student.encode_pictures(pixels)
        return student.finish(encoded)

    return _measure(student, encode, len(rows), device), loading_s


def _measure_captions(student: Student, data: TrainingData, device: torch.device, dtype: torch.dtype) -> Cost:
    if not len(data.captions):
        return Cost(0.0, 0.0, 0.0)
    texts = [data.captions[number] for number in range(min(TIMED, len(data.captions)))]
    ids = student.encoder.tokenize(texts).to(device)

    def encode() -> Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return student.encode_texts(ids)

    return _measure(student, encode, len(texts), device)


def _measure(student: Student, encode: Callable[[], Tensor], many: int, device: torch.device) -> Cost:
    student.train()
    held = _Held()
    with torch.autograd.graph.saved_tensors_hooks(held.pack, lambda tensor: tensor):
        features = encode()
    _backward(features)  # the first pass of a process is slower, and not timed
    training_s = _shortest_s(lambda: _backward(encode()), device) / many
    with torch.no_grad():
        encoding_s = _shortest_s(encode, device) / many
    weights = {parameter.untyped_storage().data_ptr() for parameter in student.parameters()}
    activations = sum(size for place, size in held.sizes.items() if place not in weights)
    return Cost(training_s, encoding_s, activations / many)


def _shortest_s(work: Callable[[], object], device: torch.device) -> float:
    """Time some work: the shortest of several goes, for another program may take the cores in between."""

    def once() -> float:
        begun = time.perf_counter()
        work()
        _wait(device)
        return time.perf_counter() - begun

    return min(once() for _ in range(GOES))


def _backward(features: Tensor) -> None:
    if features.requires_grad:
        torch.autograd.backward(features.sum())


class _Held:
    """Adds up what a graph holds on to, each piece of memory once."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def plan_run(config: TrainingConfig, dataset: Path) -> dict[str, Any]:
    """Open a dataset and estimate a run on it; see `estimate_run`.

    Raises:
        MvcapError: the dataset or the model's description cannot be had.
    """
    from training.data import open_data

    return estimate_run(config, open_data(config, dataset))
