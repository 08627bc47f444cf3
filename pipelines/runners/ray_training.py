"""Training by workers of Ray Train: each is a process of `training.runs`, on whichever node has room.

A worker that dies ends the attempt of all; the next one goes on from the latest whole checkpoint, which lies
in the run's folder. That folder and the dataset must be at the same place on every node. What the leading
worker says, and what comes of it, pass through files in `RUN/ray-train/`: Ray's own log is too long.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import ray
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from mvcap import files
from mvcap.errors import InfrastructureError, MvcapError, UsageError
from mvcap.quantities import quantity
from pipelines.runners.ray_checks import Admission
from pipelines.runners.ray_connection import connected, last_line
from training.config import TrainingConfig
from training.run_files import RUN

ATTEMPTS: Final = 4
OWN: Final = "ray-train"
"""Folder in the run's for what passes through files, and for what Ray Train keeps of itself."""
LOOK_S: Final = 0.5


def train_on_ray(
    config: TrainingConfig,
    dataset: Path,
    run: Path,
    *,
    workers: int,
    address: str | None,
    resume: str,
    say: Callable[[str], None],
) -> Mapping[str, Any]:
    """Train with so many processes, and return the summary of the one that leads.

    Args:
        address: of a cluster; None starts a Ray on this machine for the run.

    Raises:
        InfrastructureError: there is no cluster there, or workers died too often.
        MvcapError: as `training.runs.run_training` has it.
    """
    if resume == "never" and (run / RUN).exists():
        raise UsageError(f"{run} holds a run already; give another --out, or --resume auto to go on with it")
    own = run.absolute() / OWN
    own.mkdir(parents=True, exist_ok=True)
    outcome, said = (own / f"{uuid4().hex}.{kind}" for kind in ("json", "log"))
    settings = {
        "recipe": config.model_dump(mode="json"),
        "dataset": str(dataset.absolute()),
        "run": str(run.absolute()),
        "outcome": str(outcome),
        "said": str(said),
    }
    try:
        with connected(address, quiet=True):
            with Admission(None, [str(dataset.absolute()), str(run.absolute())]).open():
                scaling = _scaling(config, workers)
            say(f"{quantity(workers, 'worker')}, each with {scaling.resources_per_worker}")
            with _repeating(said, say):
                _fit(settings, scaling, own)
        return _read(outcome)
    finally:
        for path in (outcome, said):
            path.unlink(missing_ok=True)


def _scaling(config: TrainingConfig, workers: int) -> ScalingConfig:
    """Give each worker a GPU where the cluster has any.

    Raises:
        UsageError: it has some, but too few.
    """
    resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = int(resources.get("GPU", 0)) if config.run.device != "cpu" else 0
    if 0 < gpus < workers:
        raise UsageError(f"the cluster has {gpus} GPUs for {workers} workers; ask for --workers {gpus}")
    if workers > resources.get("CPU", 0):
        cpus = int(resources.get("CPU", 0))
        raise UsageError(f"the cluster has {cpus} CPUs for {workers} workers; ask for --workers {cpus}")
    each = {"CPU": 1} | ({"GPU": 1} if gpus else {})
    return ScalingConfig(num_workers=workers, use_gpu=gpus > 0, resources_per_worker=each)


def _fit(settings: Mapping[str, Any], scaling: ScalingConfig, own: Path) -> None:
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    os.environ["RAY_TRAIN_ENABLE_PRINT_PATCH"] = "0"  # it would print everything twice
    trainer = TorchTrainer(
        _work,
        train_loop_config=dict(settings),
        scaling_config=scaling,
        run_config=RunConfig(
            name="controller",
            storage_path=str(own),
            failure_config=FailureConfig(max_failures=ATTEMPTS - 1),
        ),
    )
    try:
        trainer.fit()
    except Exception as error:
        raise InfrastructureError(
            f"the workers of Ray Train died {ATTEMPTS} times: {last_line(error)}\nThe same command goes on "
            "from the latest checkpoint"
        ) from error


def _work(settings: dict[str, Any]) -> None:
    """Do one worker's part. Our own errors would come again: they are written down, and end the run."""
    from training.recipes import build_config
    from training.runs import run_training

    outcome = Path(settings["outcome"])
    if outcome.exists():  # an attempt before was refused
        return
    with Path(settings["said"]).open("a", buffering=1) as log, redirect_stderr(log):
        try:
            summary = run_training(
                build_config(settings["recipe"]),
                Path(settings["dataset"]),
                Path(settings["run"]),
                say=lambda message: print(message, file=sys.stderr),
            )
        except InfrastructureError:  # another attempt may do
            raise
        except MvcapError as error:
            files.write_json(outcome, {"exit_code": error.exit_code, "message": str(error)})
            raise
    if summary:  # the leader's
        files.write_json(outcome, {"summary": dict(summary)})


@contextmanager
def _repeating(said: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Say what is written to a file, line by line, as long as this is open."""
    over = threading.Event()

    def repeat() -> None:
        told = 0
        while True:
            last = over.wait(LOOK_S)
            lines = said.read_text().splitlines(keepends=True) if said.exists() else []
            whole = [line for line in lines if line.endswith("\n")]
            for line in whole[told:]:
                say(line.rstrip())
            told = len(whole)
            if last:
                return

    thread = threading.Thread(target=repeat, name="said", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _read(outcome: Path) -> Mapping[str, Any]:
    written: dict[str, Any] = json.loads(outcome.read_bytes())
    if "summary" in written:
        return dict(written["summary"])
    kind = UsageError if written["exit_code"] == UsageError.exit_code else MvcapError
    raise kind(written["message"])
