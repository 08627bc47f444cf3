"""Runs stages on threads of this process: no Ray, easy to debug. Blender is a child process all the same."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from os import sched_getaffinity
from typing import Any

from captions.ahead import map_ahead
from mvcap.commits import RENDER
from mvcap.places import Place
from pipelines.ledger import Assignment, Ledger
from pipelines.shards import ShardWorker
from pipelines.stages import Item, Observer, Result, ShardReport, Stage

POLL_S = 0.2


class Cancelled(Exception):
    """Ends a worker's shard because the run is over."""


class LocalRunner:
    """A few threads for each stage, all fed from one ledger.

    Args:
        drop_views: remove a shard's rendered views once it is captioned.
    """

    def __init__(self, *, drop_views: bool = True) -> None:
        self._drop_views = drop_views
        self._changed = threading.Condition()
        self._stop = False
        self._error: BaseException | None = None
        self._events: list[ShardReport | tuple[Any, int]] = []

    def run(self, stages: Sequence[Stage[Any, Any]], root: Place, ledger: Ledger, observer: Observer) -> None:
        """See `pipelines.stages.Runner.run`."""
        threads = [
            threading.Thread(
                target=self._work, args=(stage, root, ledger), name=f"{stage.name}-{slot}", daemon=True
            )
            for stage in stages
            for slot in range(stage.workers or default_workers(stage))
        ]
        for thread in threads:
            thread.start()
        try:
            self._watch(ledger, observer)
        finally:
            with self._changed:
                self._stop = True
                self._changed.notify_all()
            for thread in threads:
                thread.join(timeout=10)

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None
    ) -> Iterator[Result]:
        """See `pipelines.stages.Runner.map`; one thread where it may choose, as numpy has its own."""
        threads = workers or 1
        with closing(map_ahead(work, items, threads=threads, limit=2 * threads)) as results:
            yield from results

    def _watch(self, ledger: Ledger, observer: Observer) -> None:
        while True:
            with self._changed:
                self._changed.wait(POLL_S)
                events, self._events = self._events, []
                over, error = ledger.done, self._error
            for event in events:
                if isinstance(event, ShardReport):
                    observer.finish(event)
                else:
                    observer.advance(*event)
            if error:
                raise error
            if over:
                return

    def _work(self, stage: Stage[Any, Any], root: Place, ledger: Ledger) -> None:
        try:
            with suppress(Cancelled), ShardWorker(stage, root, drop_views=self._drop_views) as worker:
                while (assignment := self._take(stage, ledger)) is not None:
                    report = worker.run(assignment, lambda records: self._advance(stage, records))
                    assert report, "no thread dies alone, so no object is ever tried alone"
                    with self._changed:
                        ledger.finish(assignment, size=report.bytes)
                        self._events.append(report)
                        self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that runs the whole
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _take(self, stage: Stage[Any, Any], ledger: Ledger) -> Assignment | None:
        """Wait for the next shard; None when there will be none."""
        with self._changed:
            while not (self._stop or self._error or ledger.done):
                if (assignment := ledger.take(stage.name)) is not None:
                    return assignment
                self._changed.wait(POLL_S)
        return None

    def _advance(self, stage: Stage[Any, Any], records: int) -> None:
        with self._changed:
            if self._stop or self._error:
                raise Cancelled
            self._events.append((stage.name, records))


def default_workers(stage: Stage[Any, Any]) -> int:
    """One renderer for each CPU this process may use, and one of anything else."""
    return len(sched_getaffinity(0)) if stage.name == RENDER else 1
