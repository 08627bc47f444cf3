"""A stage whose workers keep a log: what they began, what became of each object, and how long it took."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, Self

from mvcap.records import Rejected
from pipelines.stages import Stage, Worker
from pipelines.worker_log import WorkerLog, log_folder

MakeWorker = Callable[[], AbstractContextManager[Worker[Any, Any]]]


def logged(stage: Stage[Any, Any], root: object) -> Stage[Any, Any]:
    """Return the same stage, whose workers log beside the dataset at `root`."""
    return replace(stage, make_worker=partial(LoggedWorker, stage.make_worker, root, stage.name))


class LoggedWorker:
    """A `pipelines.stages.Worker` that does what another one does, and writes it down."""

    def __init__(self, make_worker: MakeWorker, root: object, stage: str) -> None:
        self._make_worker = make_worker
        self._log = WorkerLog(log_folder(root), stage)
        self._opened = ExitStack()
        self._worker: Worker[Any, Any] | None = None

    def __enter__(self) -> Self:
        begun = time.monotonic()
        self._opened.enter_context(self._log.open())
        try:
            self._worker = self._opened.enter_context(self._make_worker())
        except BaseException as error:
            self._log.write("worker_failed", level="error", **_told(error))
            self._opened.close()
            raise
        self._log.write("worker_started", seconds=time.monotonic() - begun)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.write("worker_stopped")
        self._opened.__exit__(kind, error, trace)

    @property
    def made_by(self) -> Mapping[str, Any]:
        assert self._worker is not None, "enter the worker first"
        return self._worker.made_by

    @property
    def busy_s(self) -> float | None:
        assert self._worker is not None, "enter the worker first"
        return self._worker.busy_s

    def __call__(self, records: Iterable[Any]) -> Iterator[Any]:
        assert self._worker is not None, "enter the worker first"
        return self._noted(self._worker(records))

    def _noted(self, outputs: Iterator[Any]) -> Iterator[Any]:
        begun = time.monotonic()
        self._log.write("shard_started")
        objects = _Objects(self._log)
        try:
            while True:
                asked = time.monotonic()
                output = next(outputs, None)
                if output is None:
                    break
                objects.note(output, time.monotonic() - asked)
                yield output
            objects.end()
        except Exception as error:
            self._log.write("shard_failed", level="error", seconds=time.monotonic() - begun, **_told(error))
            raise
        self._log.write("shard_done", seconds=time.monotonic() - begun, views=objects.views)


@dataclass(slots=True)
class _Objects:
    """Follows a shard's outputs, object by object."""

    log: WorkerLog
    views: int = 0
    """Of the whole shard."""
    _uid: str | None = None
    _views: int = 0
    _seconds: float = 0.0

    def note(self, output: Any, seconds: float) -> None:
        """Take in the next output, which came so long after it was asked for."""
        uid = output.key[0]
        if uid != self._uid:
            self.end()
            self._uid = uid
        self._seconds += seconds
        if isinstance(output, Rejected):
            self.log.write(
                "rejected",
                level="warning",
                uid=uid,
                view=output.view_index,
                reason=output.reason,
                attempts=output.attempts,
                signal=output.signal,
                message=output.message,
            )
        else:
            self._views += 1
            self.views += 1

    def end(self) -> None:
        """Tell of the object that is over."""
        if self._uid is not None:
            self.log.write("object_done", uid=self._uid, seconds=self._seconds, views=self._views)
        self._uid, self._views, self._seconds = None, 0, 0.0


def _told(error: BaseException) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}
