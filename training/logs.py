"""What a run tells: JSON lines, TensorBoard, wandb where it is installed, and its progress on stderr."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mvcap import files
from mvcap.plugins import missing_extra
from training.config import RunConfig
from training.run_files import LOG

LINE_EVERY_S: Final = 30.0


class Sink(Protocol):
    """Takes figures of a step."""

    def write(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class JsonLines:
    """`RUN/log.jsonl`: a line for each step that is logged. A resumed run drops what it will write again."""

    def __init__(self, run: Path, done: int) -> None:
        path = run / LOG
        run.mkdir(parents=True, exist_ok=True)
        if path.exists():
            lines = path.read_text("utf-8").splitlines(keepends=True)
            files.write_bytes(path, "".join(line for line in lines if _step_of(line) <= done).encode())
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        with files.disk_full_explained(self._path):
            self._file.write(json.dumps({"step": step, **figures}) + "\n")
            self._file.flush()

    def close(self) -> None:
        with files.disk_full_explained(self._path):  # what could not be written is tried once more
            self._file.close()


class TensorBoard:
    """`RUN/tensorboard/`, for `tensorboard --logdir RUN`; figures of repeated steps are replaced."""

    def __init__(self, run: Path, done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise missing_extra("run.tensorboard=true", error) from error
        create: Any = SummaryWriter
        self._writer = create(str(run / "tensorboard"), purge_step=done + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """Weights & Biases; a run is found again by its folder, whose name alone others may have as well."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise missing_extra("run.wandb=true", error) from error
        place = run.resolve()
        self._run = wandb.init(
            project="mvcap",
            id=hashlib.sha256(str(place).encode()).hexdigest()[:16],
            name=place.name,
            dir=str(run),
            resume="allow",
            config=dict(settings),
        )

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


@contextmanager
def open_sinks(run: Path, done: int, settings: RunConfig, recipe: Mapping[str, Any]) -> Iterator[list[Sink]]:
    """Open the sinks that a recipe asks for; closed at the end.

    Args:
        done: steps that stand in the latest checkpoint; later ones are written again.
        recipe: plain values to tell wandb.
    """
    with ExitStack() as stack:
        sinks: list[Sink] = [JsonLines(run, done)]
        stack.callback(sinks[-1].close)
        if settings.tensorboard:
            sinks.append(TensorBoard(run, done))
            stack.callback(sinks[-1].close)
        if settings.wandb:
            sinks.append(Wandb(run, recipe))
            stack.callback(sinks[-1].close)
        yield sinks


def last_figures(run: Path) -> dict[str, float]:
    """Return the figures that a run's log ends with; none where it has no log."""
    path = run / LOG
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = json.loads(lines[-1]) if lines and _step_of(lines[-1]) < sys.maxsize else {}
    return {name: value for name, value in found.items() if name != "step"}


def _step_of(line: str) -> int:
    """Return the step a line is about; a torn line is about one yet to come."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return sys.maxsize


Advance = Callable[[int, str], None]
"""Given the steps done and a few words, shows them."""


@contextmanager
def showing(
    total: int, done: int = 0, *, what: str = "step", stream: TextIO | None = None
) -> Iterator[Advance]:
    """Show a bar on a terminal, and a line every 30 s elsewhere; both with the time left."""
    stream = stream or sys.stderr
    if stream.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=Console(file=stream)) as bars:
            task = bars.add_task(what, total=total, completed=done, words="")
            yield lambda step, words: bars.update(task, completed=step, words=words)
        return
    started = last = time.monotonic()

    def advance(step: int, words: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LINE_EVERY_S and step < total:
            return
        last = now
        left_s = (now - started) / max(step - done, 1) * (total - step)
        print(
            f"{what} {step} of {total}, {_duration(left_s)} left{'; ' + words if words else ''}",
            file=stream,
            flush=True,
        )

    yield advance


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds_left = divmod(rest, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds_left:02d} s"
