"""Which nodes of a cluster may take part: each is asked first whether it has what the driver has."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mvcap import files
from mvcap.errors import UsageError
from mvcap.places import Place
from mvcap.storage import Store
from pipelines.runners import node_probe
from pipelines.runners.ray_connection import last_line
from pipelines.runners.ray_nodes import Node, living_nodes

log = logging.getLogger(__name__)

ANSWER_S: Final = 90.0
"""A node starts a Python to answer, which takes long on a busy one; a dead file server never answers."""
NAMED_NODES: Final = 5
"""Unfit nodes that a refusal names one by one."""


class Admission:
    """Admits the nodes that have all they need. All that are there at the start must; others may join later.

    Args:
        root: the dataset's place; None where none is written.
        reads: files and folders of this machine that workers read.
    """

    def __init__(self, root: Place | None, reads: Sequence[str]) -> None:
        self._root = root.absolute() if root else None
        self._reads = list(dict.fromkeys(reads))
        self._probe = files.temporary_name(Store(self._root).attempts / "probe") if self._root else None
        self._token = uuid4().hex
        self._asked: dict[str, Any] = {}
        """Node -> reference to its answer."""
        self._fit: set[str] = set()
        self._unfit: set[str] = set()

    @contextmanager
    def open(self) -> Iterator["Admission"]:
        """Write what the nodes are to see, for as long as nodes may come, and ask those there are.

        Raises:
            UsageError: some lack something; it says which, what, and what to do.
        """
        if self._probe:
            files.write_bytes(self._probe, self._token.encode())
        ray.cloudpickle.register_pickle_by_value(node_probe)  # type: ignore[no-untyped-call]
        try:
            self._require_all()
            yield self
        finally:
            ray.cloudpickle.unregister_pickle_by_value(node_probe)  # type: ignore[no-untyped-call]
            if self._probe:
                files.delete(self._probe)

    def nodes(self) -> dict[str, Node]:
        """Return the living nodes that were found fit, and ask those that have joined."""
        living = living_nodes()
        for node, lacks in self._collect(living).items():
            for lack in lacks:
                log.warning("node %s has joined and gets no work: it %s", living[node].name, lack)
        self._ask(node for node in living if node not in self._fit | self._unfit | self._asked.keys())
        return {id_: node for id_, node in living.items() if id_ in self._fit}

    def _require_all(self) -> None:
        nodes = living_nodes()
        self._ask(nodes)
        if calls := list(self._asked.values()):
            ray.wait(calls, num_returns=len(calls), timeout=ANSWER_S)
        lacking = self._collect(nodes)
        silent = f"has not answered within {ANSWER_S:.0f} s: look at its load and at its file systems"
        lacking |= {node: [silent] for node in self._asked}
        if lacking:
            raise UsageError(
                _refusal({nodes[node].name: lacks for node, lacks in lacking.items()}, len(nodes))
            )

    def _ask(self, nodes: Iterable[str]) -> None:
        ask: Any = ray.remote(num_cpus=0, max_retries=0)(node_probe.find_lacks)
        question = node_probe.Question(
            node_probe.python_version(),
            node_probe.code_hash(),
            str(self._root) if self._root else None,
            str(self._probe),
            self._token,
            self._reads,
        )
        for node in nodes:
            there = ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            self._asked[node] = there.remote(question)

    def _collect(self, living: Mapping[str, Node]) -> dict[str, list[str]]:
        """Take in what has been answered, and return what living nodes lack."""
        calls = {call: node for node, call in self._asked.items()}
        answered, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0) if calls else ([], [])
        lacking = {}
        for call in answered:
            node = calls[call]
            del self._asked[node]
            lacks = _answer(call)
            if lacks is None or node not in living:
                continue
            (self._unfit if lacks else self._fit).add(node)
            if lacks:
                lacking[node] = lacks
        return lacking


def _answer(call: Any) -> list[str] | None:
    """Return what a node lacks; None where it died before it could tell."""
    try:
        return list(ray.get(call))
    except RayTaskError as error:
        return [f"cannot run the driver's check: {last_line(error)}"]
    except RayError:
        return None


def _refusal(lacking: Mapping[str, Sequence[str]], count: int) -> str:
    lines = [f"  {name} {lack}" for name, lacks in lacking.items() for lack in lacks]
    more = [f"  ... and {len(lines) - NAMED_NODES} more lines like these"] if len(lines) > NAMED_NODES else []
    listed = "\n".join([*lines[:NAMED_NODES], *more])
    return f"{len(lacking)} of the cluster's {count} nodes cannot take part:\n{listed}"
