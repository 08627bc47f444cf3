"""The nodes of the connected cluster, and what a worker of ours asks of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mvcap.commits import RENDER
from mvcap.errors import InfrastructureError
from pipelines.placement import Amounts, Demand
from pipelines.stages import Stage


@dataclass(frozen=True, slots=True)
class Node:
    """A living node that offers CPUs or GPUs; a head often offers none, and gets no work."""

    id: str
    name: str
    """For people: host and address."""
    has: Amounts


def living_nodes() -> dict[str, Node]:
    """Return the nodes that may get work, by their ids.

    Raises:
        InfrastructureError: every node is dead.
    """
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    living = [node for node in nodes if node["Alive"]]
    if not living:
        raise InfrastructureError(
            "every node of the Ray cluster is dead: start it again, then the same command goes on"
        )
    return {
        node["NodeID"]: Node(
            node["NodeID"], f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})", node["Resources"]
        )
        for node in living
        if node["Resources"].get("CPU") or node["Resources"].get("GPU")
    }


def demand_of(stage: Stage[Any, Any], nodes: Mapping[str, Node]) -> Demand:
    """Say what a stage's workers need of the nodes there are; those that need no GPU or CPU fill nothing.

    Renderers fill CPUs, and whatever needs GPUs fills them. There is one worker of the rest.
    """
    wants = stage.resources
    gpus = wants.gpus
    if wants.prefers_gpu and any(node.has.get("GPU", 0) >= 1 for node in nodes.values()):
        gpus = max(gpus, 1.0)
    needs = {"CPU": wants.cpus, "GPU": gpus, "memory": wants.memory_gb * 1e9, **wants.custom}
    return Demand(
        stage.name,
        {name: amount for name, amount in needs.items() if amount},
        workers=stage.workers,
        fills=bool(gpus) or stage.name == RENDER,
    )


def ray_needs(demand: Demand) -> dict[str, Any]:
    """Return what a worker needs, as Ray's options have it."""
    needs = dict(demand.needs)
    return {
        "num_cpus": needs.pop("CPU", 0),
        "num_gpus": needs.pop("GPU", 0),
        "memory": int(needs.pop("memory", 0)) or None,
        "resources": needs,
    }


def actor_options(demand: Demand, node: str) -> dict[str, Any]:
    """Return how Ray is asked for a worker on one node alone."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return {**ray_needs(demand), "max_restarts": 0, "scheduling_strategy": there}


def board_options(node: str) -> dict[str, Any]:
    """Return how Ray is asked for the board: on a node that was found fit, on any other once that is gone."""
    there = NodeAffinitySchedulingStrategy(node, soft=True)
    return {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": there}


def cpus_of_cluster(nodes: Sequence[Node]) -> int:
    return max(int(sum(node.has.get("CPU", 0) for node in nodes)), 1)
