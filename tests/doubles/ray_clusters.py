"""Clusters of Ray whose nodes are processes of this machine: nodes and workers can be ended at will."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

WAIT_S = 120
SOON_S = 0.05


class Nodes:
    """A head without CPUs, as on Kubernetes, and nodes with one CPU each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    @property
    def workers(self) -> list[Any]:
        """The nodes beside the head."""
        return list(self._cluster.worker_nodes)

    def add(self, **amounts: Any) -> Any:
        return self._cluster.add_node(**{"num_cpus": 1, **amounts})

    def have(self, count: int) -> list[Any]:
        """Add or remove plain nodes until there are so many."""
        for node in self.workers[count:]:
            self.remove(node)
        while len(self.workers) < count:
            self.add()
        return self.workers

    def remove(self, node: Any, *, gracefully: bool = True) -> None:
        self._cluster.remove_node(node, allow_graceful=gracefully)

    def lose_head(self) -> None:
        """Kill the head without a word, as a machine that loses its power does."""
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)

    def end(self) -> None:
        self._cluster.shutdown()


@contextmanager
def start() -> Iterator[Nodes]:
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.end()


def at_work(*nodes: Any) -> list[psutil.Process]:
    """Return the processes of nodes that do a shard right now."""
    found = []
    for node in nodes:
        (raylet,) = node.all_processes["raylet"]
        found += [
            process
            for process in psutil.Process(raylet.process.pid).children(recursive=True)
            if is_at_work(process)
        ]
    return found


def is_at_work(process: psutil.Process) -> bool:
    try:
        return any(part.startswith("ray::ShardActor.run") for part in process.cmdline())
    except psutil.Error:
        return False


def end_worker(*nodes: Any, number: int = signal.SIGKILL) -> bool:
    """Send a signal to one of the nodes' processes in the middle of a shard; tell whether there was one.

    It is stopped before it is looked at again, so that it cannot be done in between.
    """
    for process in at_work(*nodes):
        try:
            process.suspend()
            caught = is_at_work(process)
            if caught:
                process.send_signal(number)
            process.resume()
        except psutil.Error:
            continue
        if caught:
            return True
    return False


def wait_until(true: Callable[[], Any], driver: Any) -> None:
    """Wait for something to be true while a driver runs."""
    deadline = time.monotonic() + WAIT_S
    while True:
        ended = driver.poll() is not None
        if true():
            return
        assert not ended, driver.said
        assert time.monotonic() < deadline, driver.said
        time.sleep(SOON_S)


def commits(out: Path, stage: str = "render") -> int:
    return len(list(out.glob(f"_mvcap/commits/{stage}/*.json")))


def stages_of(out: Path) -> dict[int, str]:
    """Tell the stage of each worker that has written to its log, by its pid."""
    parts = (path.stem.split("-") for path in (out / "_mvcap" / "logs").glob("*.jsonl"))
    return {int(pid): stage for *_, stage, pid, _ in parts}
