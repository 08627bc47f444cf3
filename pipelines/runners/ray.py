"""Runs stages as Ray actors: embedded Ray on this machine, or an existing cluster.

Plain actors over our own ledger: only shard numbers travel through the driver. A worker's own errors come
back as they are; an actor that dies took a node or a process with it, which blames no object, so its shard
goes back to the ledger and another actor takes its place.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayError, RayTaskError

from mvcap.errors import InfrastructureError
from mvcap.places import Place
from pipelines.ledger import Ledger
from pipelines.runners.background import Background
from pipelines.runners.ray_checks import Admission
from pipelines.runners.ray_connection import HeadCheck, connected, last_line, wait_for
from pipelines.runners.ray_crew import Crew
from pipelines.runners.ray_metrics import MeteredObserver
from pipelines.runners.ray_nodes import Node, living_nodes
from pipelines.runners.ray_tasks import map_as_tasks
from pipelines.stages import Item, Observer, Result, Stage


class RayRunner:
    """A set of actors for each stage, all fed from one ledger in the driver.

    Args:
        address: of an existing cluster, or None for an embedded one that ends with this process.
        drop_views: remove a shard's rendered views once it is captioned.
    """

    def __init__(self, *, address: str | None = None, drop_views: bool = True) -> None:
        self._address = address
        self._drop_views = drop_views

    def run(self, stages: Sequence[Stage[Any, Any]], root: Place, ledger: Ledger, observer: Observer) -> None:
        """See `pipelines.stages.Runner.run`; the observer is called from a thread of the runner's.

        Ray works in that thread, and this one only waits: Ray would replace the handler of SIGTERM in the
        main thread, and an exception that a signal raises inside Ray's own code comes out as another one.
        """
        head = HeadCheck(self._address)
        wait_for(
            Background(lambda stop: self._run(stages, root, ledger, observer, head=head, stop=stop)), head
        )

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None
    ) -> Iterator[Result]:
        """See `pipelines.stages.Runner.map`; a task for each item, and one for each CPU at once."""
        head = HeadCheck(self._address)
        results: list[Result] = []

        def call(stop: threading.Event) -> None:
            with connected(self._address):
                head.connected()
                with self._admission(None, ()):
                    results.extend(map_as_tasks(work, items, workers, stop))

        wait_for(Background(call), head)
        return iter(results)

    def _run(
        self,
        stages: Sequence[Stage[Any, Any]],
        root: Place,
        ledger: Ledger,
        observer: Observer,
        *,
        head: HeadCheck,
        stop: threading.Event,
    ) -> None:
        with connected(self._address):
            try:
                head.connected()
                reads = [path for stage in stages for path in stage.reads]
                with self._admission(root, reads) as nodes:
                    crew = Crew(stages, root, nodes=nodes, drop_views=self._drop_views)
                    try:
                        crew.work(ledger, MeteredObserver(observer), stop)
                    finally:
                        crew.dismiss()
            except RayTaskError:
                raise  # an error of ours, with Ray's report of where it happened
            except (RayError, ConnectionError) as error:
                raise InfrastructureError(f"Ray failed: {last_line(error)}") from error

    @contextmanager
    def _admission(
        self, root: Place | None, reads: Sequence[str]
    ) -> Iterator[Callable[[], Mapping[str, Node]]]:
        """Give what tells the nodes that may get work; an embedded Ray's one node is this machine."""
        if self._address is None:
            yield living_nodes
        else:
            with Admission(root, reads).open() as admission:
                yield admission.nodes
