"""The nodes of the connected cluster: which live, what they offer, how many workers they hold."""

from typing import Any

import ray

from mvcap.commits import RENDER
from mvcap.errors import InfrastructureError
from pipelines.stages import Stage


def require_a_node() -> None:
    """Refuse to wait for workers that can start nowhere.

    Raises:
        InfrastructureError: every node is dead.
    """
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    if not any(node["Alive"] for node in nodes):
        raise InfrastructureError("every node of the Ray cluster is dead; start it again")


def gpus_for(stage: Stage[Any, Any]) -> float:
    """Return the share of a GPU that Ray reserves for each worker of a stage."""
    wants_one = stage.resources.prefers_gpu and cluster_resources().get("GPU", 0) >= 1
    return max(stage.resources.gpus, float(wants_one))


def default_workers(stage: Stage[Any, Any]) -> int:
    """Fill the GPUs with what needs them and the CPUs with renderers; there is one worker of the rest.

    At least one: of a stage that must have a GPU where there is none, Ray says that it waits for one.
    """
    available = cluster_resources()
    if share := gpus_for(stage):
        return max(int(available.get("GPU", 0) / share), 1)
    return max(int(available.get("CPU", 1) / stage.resources.cpus), 1) if stage.name == RENDER else 1


def cluster_resources() -> dict[str, float]:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources
