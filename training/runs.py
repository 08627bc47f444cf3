"""A run's folder: begun, refused where it is another run's, or gone on with.

```
RUN/
  run.json        recipe, model, data: what a resumed run has to agree with
  log.jsonl       a line for each step that is logged
  tensorboard/
  checkpoints/    see `training.checkpoints`
  bank.f16        features of every view, where anchors are made
```
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from mvcap import files, plugins
from mvcap.config import difference, producing_settings
from mvcap.errors import InfrastructureError, OutputError, UsageError
from mvcap.locks import dataset_lock
from training.checkpoints import Checkpoint, latest_checkpoint
from training.config import ModelConfig, TrainingConfig
from training.data import TrainingData, open_data
from training.distributed import World, joined
from training.dual_encoder import DualEncoder
from training.loading import dead_loaders_explained
from training.pictures.dataset import DatasetPictures
from training.pictures.small_copies import make_small_copies
from training.run_files import RUN

Resume = Literal["auto", "never"]


def create_encoder(model: ModelConfig, *, weights: bool = True) -> DualEncoder:
    """Load the pretrained model of a recipe.

    Raises:
        ModelUnavailableError: it cannot be had.
    """
    encoder: DualEncoder = plugins.load("training.backends", model.backend).create(
        model.options, weights=weights
    )
    return encoder


def run_training(
    config: TrainingConfig,
    dataset: Path,
    run: Path,
    *,
    resume: Resume = "auto",
    say: Callable[[str], None] = print,
) -> Mapping[str, Any]:
    """Train, or go on from the latest whole checkpoint; return a summary of plain values.

    Alone, or as one of the processes that torchrun started.

    Raises:
        UsageError: the recipe does not fit model or data, or the folder holds another run.
        MvcapError: the model cannot be had, the data not be read, or training diverged.
    """
    from training.trainer import Trainer

    if run.resolve() == dataset.resolve():
        raise UsageError(f"--out and --data are the same folder, {run}: give the run a folder of its own")
    with ExitStack() as stack:
        world = stack.enter_context(joined())
        tell = say if world.leads else lambda message: None
        if world.leads:
            stack.enter_context(dataset_lock(run / "_mvcap")).announce(run=str(run))
        data = open_data(config, dataset)  # before the model, which may have to be fetched
        encoder = create_encoder(config.model)
        facts = _facts(config, encoder, data.identity())
        if world.leads:
            _begin(run, facts, resume)
        world.wait()
        data = _with_small_copies(config, data, world, tell)
        checkpoint = latest_checkpoint(run, tell)
        trainer = Trainer(config, encoder, data, run, world, facts=facts, say=tell)
        if checkpoint is not None:
            tell(f"going on from step {checkpoint.step}")
        with dead_loaders_explained(), full_memory_explained(config):
            done = trainer.train(checkpoint)
        if not world.leads:
            return {}
        return {"steps": done.steps, "checkpoint": str(done.checkpoint), **done.figures}


@contextmanager
def full_memory_explained(config: TrainingConfig) -> Iterator[None]:
    """Turn torch's error about a GPU's memory into one that says which settings need less.

    Raises:
        InfrastructureError: the GPU has no room.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InfrastructureError(
            f"{str(error).splitlines()[0]}\nA batch is encoded in parts by run.micro_batch (now "
            f"{config.run.micro_batch}), which changes nothing else; run.checkpoint_activations=true and "
            "run.precision=bfloat16 need less as well. The same command with them goes on"
        ) from error


def _with_small_copies(
    config: TrainingConfig, data: TrainingData, world: World, say: Callable[[str], None]
) -> TrainingData:
    """Put small copies in the place of the views, where the recipe wants them; one process makes them."""
    size_px = config.data.small_copies_px
    if size_px is None or not isinstance(data.views, DatasetPictures):
        return data
    if world.local_rank == 0:
        make_small_copies(data.views, size_px, processes=config.run.loaders, say=say)
    world.wait()
    copies = make_small_copies(data.views, size_px, processes=config.run.loaders, say=say)
    return replace(data, views=copies)


def load_run(run: Path) -> tuple[TrainingConfig, DualEncoder, Checkpoint]:
    """Return a run's recipe, its pretrained model, and its latest whole checkpoint.

    Raises:
        OutputError: the folder holds no run, or no checkpoint yet.
        UsageError: the pretrained model is not the one that was tuned.
    """
    from training.recipes import build_config

    facts = read_facts(run)
    checkpoint = latest_checkpoint(run)
    if checkpoint is None:
        raise OutputError(f"{run} has no whole checkpoint yet")
    config = build_config(facts["recipe"])
    encoder = create_encoder(config.model)
    if weights_digest(encoder.network) != facts["pretrained_sha256"]:
        raise UsageError(
            f"{run} was tuned from other weights than {config.model.options} gives now; put the old ones back"
        )
    return config, encoder, checkpoint


def read_facts(run: Path) -> dict[str, Any]:
    """Read what a run is.

    Raises:
        OutputError: the folder holds none.
    """
    try:
        return dict(json.loads((run / RUN).read_bytes()))
    except (OSError, ValueError) as error:
        raise OutputError(f"{run} is not a run of `mvcap train`: it has no {RUN}") from error


def weights_digest(network: nn.Module) -> str:
    """Hash all weights of a network: 16 hex digits."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()[:16]


def _facts(config: TrainingConfig, encoder: DualEncoder, data: str) -> dict[str, Any]:
    return {
        "recipe": config.model_dump(mode="json"),
        "settings": producing_settings(config),
        "model": encoder.identity(),
        "pretrained_sha256": weights_digest(encoder.network),
        "data": data,
    }


def _begin(run: Path, facts: Mapping[str, Any], resume: Resume) -> None:
    """Write down what a new run is, or make sure that an old one is the same.

    Raises:
        UsageError: it is another one, or was not to be gone on with.
    """
    if not (run / RUN).exists():
        files.write_json(run / RUN, dict(facts))
        return
    if resume == "never":
        raise UsageError(f"{run} holds a run already; give another --out, or --resume auto to go on with it")
    old = read_facts(run)
    changed = difference(old["settings"], json.loads(json.dumps(facts["settings"])))
    changed |= difference(_plain(old), _plain(facts))
    if changed:
        lines = "\n".join(f"  {name}: {was!r} -> {now!r}" for name, (was, now) in sorted(changed.items()))
        raise UsageError(
            f"{run} was begun otherwise (then -> now):\n{lines}\nGive another --out for a new run, or the "
            "same settings, model and data to go on"
        )


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in ("model", "pretrained_sha256", "data")}
