"""Put together what a recipe asks for: the model as it is trained, its batches, its device."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mvcap.errors import UnknownNameError, UsageError
from training.batches import Pixels, TrainingBatches
from training.config import TrainingConfig
from training.data import TrainingData
from training.distributed import World
from training.dual_encoder import DualEncoder, Encoded, Preprocessing
from training.pictures.decoding import Augmentation
from training.sampler import ObjectSampler, PictureSampler
from training.student import Student
from training.tuning import prepare
from training.viformer import VIFormer


def make_student(encoder: DualEncoder, config: TrainingConfig) -> Student:
    """Put together what a recipe trains, with the same first weights for the same seed.

    Raises:
        UsageError: the model cannot be tuned in this way.
    """
    if config.tune.temperature is not None:
        with torch.no_grad():
            encoder.logit_scale.fill_(math.log(config.tune.temperature))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        tune = config.tune
        prepare(encoder, image=tune.image, text=tune.text, rank=tune.rank, alpha=tune.alpha)
        viformer = None
        if (wanted := config.viformer) is not None:
            if wanted.attend == "patches" and encoder.token_width is None:
                raise UsageError("viformer.attend=patches: this model does not give its patches")
            viformer = VIFormer(
                encoder.width,
                alpha=wanted.alpha,
                blend=wanted.blend,
                attend=wanted.attend,
                zero_start=wanted.zero_start,
                token_width=encoder.token_width,
            )
        return Student(encoder, viformer)


def make_batches(
    config: TrainingConfig, data: TrainingData, preprocessing: Preprocessing, world: World
) -> TrainingBatches:
    """Make this process's part of every batch.

    Raises:
        UsageError: processes cannot share a batch evenly, or there are fewer views than a batch has.
    """
    wanted = config.data
    augmentation = Augmentation(wanted.smallest_crop, wanted.rotation_deg, wanted.shift, wanted.crop)
    sampler = ObjectSampler(
        data.views.table.object_index,
        batch=config.data.batch,
        views_per_object=config.data.views_per_object,
        seed=config.seed,
    )
    sizes = {"data.batch": config.data.batch}
    clean, clean_sampler = None, None
    if data.clean is not None:
        sizes["clean.batch"] = config.clean.batch
        clean = Pixels(data.clean, preprocessing, augmentation, config.seed + 1)
        clean_sampler = PictureSampler(len(data.clean.table), batch=config.clean.batch, seed=config.seed)
    for name, size in sizes.items():
        if size % world.size:
            raise UsageError(f"{name}={size} cannot be shared evenly by {world.size} processes")
    views = Pixels(data.views, preprocessing, augmentation, config.seed)
    return TrainingBatches(views, sampler, clean, clean_sampler, world.rank, world.size)


def compiled(student: Student, backend: str) -> Callable[[Tensor], Encoded]:
    """Return `encode_pictures`, to be compiled when it is first called.

    Raises:
        UnknownNameError: torch.compile has no such backend.
    """
    from torch import _dynamo  # seconds

    if backend not in _dynamo.list_backends(exclude_tags=()):
        raise UnknownNameError("backend of torch.compile", backend, _dynamo.list_backends())
    encode: Callable[[Tensor], Encoded] = torch.compile(student.encode_pictures, backend=backend)
    return encode


def choose_device(name: str, world: World) -> torch.device:
    """Take this process's GPU where there is one and nothing else was asked for.

    Raises:
        UsageError: a GPU was asked for, and torch sees none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("run.device is cuda, but torch sees no GPU; use auto or cpu")
    if torch.cuda.is_available() and name != "cpu":
        return torch.device("cuda", world.local_rank)
    return torch.device("cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """Resolve `auto`: bfloat16 on a GPU that has it, else float32."""
    if name == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
