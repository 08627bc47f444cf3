"""Plain functions over items, as Ray tasks."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from mvcap.errors import InfrastructureError
from pipelines.runners.ray_connection import cause_of, last_line
from pipelines.runners.ray_nodes import cpus_of_cluster, living_nodes
from pipelines.stages import Item, Result


def map_as_tasks(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None, stop: threading.Event
) -> Iterator[Result]:
    """Yield the results in order, with a bounded number of tasks in flight."""
    shared = ray.put(work)
    apply: Any = ray.remote(num_cpus=1)(_apply)
    limit = workers or cpus_of_cluster([*living_nodes().values()])
    waiting: deque[Any] = deque()
    for item in items:
        if stop.is_set():
            return
        if len(waiting) == limit:
            yield _result(waiting.popleft())
        waiting.append(apply.remote(shared, item))
    while waiting and not stop.is_set():
        yield _result(waiting.popleft())


def _apply(work: Callable[[Item], Result], item: Item) -> Result:
    return work(item)


def _result(call: Any) -> Any:
    try:
        return ray.get(call)
    except RayTaskError as error:
        raise cause_of(error) from None
    except RayError as error:
        raise InfrastructureError(f"Ray failed: {last_line(error)}") from error
