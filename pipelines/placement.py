"""On which nodes of a cluster the workers of each stage go. Pure.

Every stage gets a worker before any gets a second one; then those with a number of their own get it, and the
others fill what is left.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mvcap.commits import StageName

Amounts = Mapping[str, float]
"""Of Ray's resources by name: CPU, GPU, memory (bytes), and custom ones."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What a stage asks for."""

    stage: StageName
    needs: Amounts
    """Of each worker; nothing that is zero."""
    workers: int | None = None
    """How many; None is one, or as many as there is room for."""
    fills: bool = False
    """With no number given, take all the room there is."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a stage's workers go."""

    on: dict[str, int] = field(default_factory=dict)
    """How many on each node, by its id."""
    waiting: int = 0
    """Workers for which no node has room; a cluster that grows on demand makes some."""

    @property
    def total(self) -> int:
        return sum(self.on.values()) + self.waiting


def place(demands: Sequence[Demand], nodes: Mapping[str, Amounts]) -> dict[StageName, Placement]:
    """Place the workers of every stage.

    Args:
        nodes: what each node has in total, by its id.
    """
    room = {node: dict(amounts) for node, amounts in nodes.items()}
    placed: dict[StageName, dict[str, int]] = {demand.stage: {} for demand in demands}
    choosiest_first = sorted(
        demands, key=lambda demand: sum(_fits(demand.needs, has) for has in nodes.values())
    )
    for demand in choosiest_first:
        fitting = [node for node, has in room.items() if _fits(demand.needs, has)]
        if fitting:
            _put(demand, max(fitting, key=lambda node: _merit(demand, room[node])), room, placed)
    for demand in choosiest_first:
        if demand.workers is not None:
            for node in _around(demand, room):
                if sum(placed[demand.stage].values()) >= demand.workers:
                    break
                _put(demand, node, room, placed)
    filling = [demand for demand in demands if demand.fills and demand.needs and demand.workers is None]
    for node, has in room.items():
        while fitting_here := [demand for demand in filling if _fits(demand.needs, has)]:
            for demand in fitting_here:
                if _fits(demand.needs, has):
                    _put(demand, node, room, placed)
    return {
        demand.stage: Placement(on, max((demand.workers or 1) - sum(on.values()), 0))
        for demand in demands
        for on in [placed[demand.stage]]
    }


def _fits(needs: Amounts, has: Amounts) -> bool:
    """Tell whether a node has what a worker needs; fractions of a GPU do not add up exactly."""
    return all(has.get(name, 0.0) >= amount - 1e-6 for name, amount in needs.items())


def _merit(demand: Demand, has: Amounts) -> tuple[bool, float]:
    """Rate a node for a stage's first worker: GPUs are left to those who need them, then CPUs count."""
    return ("GPU" in demand.needs or not has.get("GPU"), has.get("CPU", 0.0))


def _put(
    demand: Demand, node: str, room: Mapping[str, dict[str, float]], placed: dict[StageName, dict[str, int]]
) -> None:
    on = placed[demand.stage]
    on[node] = on.get(node, 0) + 1
    for name, amount in demand.needs.items():
        room[node][name] -= amount


def _around(demand: Demand, room: Mapping[str, Amounts]) -> Iterator[str]:
    """Go round the nodes for as long as any has room; whoever takes one puts a worker there."""
    nodes = list(room)
    while nodes := [node for node in nodes if _fits(demand.needs, room[node])]:
        yield from (node for node in nodes if _fits(demand.needs, room[node]))
