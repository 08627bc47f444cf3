"""Where a crew asks Ray to put its actors; `test_ray_runner.py` has crews that work."""

import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from mvcap.commits import RENDER
from pipelines.in_flight import InFlight
from pipelines.ledger import Ledger
from pipelines.placement import Amounts
from pipelines.runners import ray_crew
from pipelines.runners.ray_actors import ShardActor
from pipelines.runners.ray_board import Board
from pipelines.runners.ray_crew import Crew
from pipelines.runners.ray_nodes import Node
from pipelines.stages import Resources, Stage

FIT = "0f" * 28
"""Id of a node, as long as Ray insists on."""


class RecordingRay:
    """Notes which actors it is asked for; none of them ever answers, and the first wait ends the run."""

    def __init__(self) -> None:
        self.actors: list[tuple[type, dict[str, Any], tuple[Any, ...]]] = []
        """Class, options and arguments of each."""
        self.boards: list[Any] = []
        self.stop = threading.Event()

    def remote(self, kind: type | None = None, **needs: Any) -> Any:
        if kind is None:  # a task that only tells of room that lacks
            return lambda function: SimpleNamespace(remote=object)
        return SimpleNamespace(
            options=lambda **options: SimpleNamespace(remote=lambda *given: self._open(kind, options, given))
        )

    def _open(self, kind: type, options: dict[str, Any], given: tuple[Any, ...]) -> Any:
        actor = SimpleNamespace(open=SimpleNamespace(remote=object), take=SimpleNamespace(remote=object))
        self.actors.append((kind, options, given))
        if kind is Board:
            self.boards.append(actor)
        return actor

    def wait(self, calls: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        self.stop.set()
        return [], calls

    def options_of(self, kind: type) -> list[dict[str, Any]]:
        return [options for opened, options, _ in self.actors if opened is kind]


@pytest.fixture
def work(monkeypatch, tmp_path):
    """Let a crew work on the nodes given, and return what it asked of Ray."""

    def work_on(fit: dict[str, Amounts]) -> RecordingRay:
        ray = RecordingRay()
        monkeypatch.setattr(ray_crew, "ray", ray)

        def look() -> dict[str, Node]:
            if not fit:
                ray.stop.set()  # nobody is hired, so nothing would be waited for
            return {name: Node(name, name, has) for name, has in fit.items()}

        stage: Stage[Any, Any] = Stage(RENDER, "settings", nullcontext, resources=Resources(cpus=1))
        ledger = Ledger({RENDER: [0]}, in_flight=InFlight(limit_shards=1), objects_of=lambda shard: ("a",))
        crew = Crew([stage], tmp_path, nodes=look, drop_views=True)
        crew.work(ledger, SimpleNamespace(advance=pytest.fail, finish=pytest.fail), ray.stop)
        return ray

    return work_on


def test_one_board_for_all_workers_stands_on_a_node_that_was_found_fit(work):
    ray = work({FIT: {"CPU": 2.0}})
    (board,) = ray.options_of(Board)
    assert (board["scheduling_strategy"].node_id, board["scheduling_strategy"].soft) == (FIT, True)
    assert (board["num_cpus"], board["max_restarts"]) == (0, -1)  # takes no room, and comes back
    workers = [given for kind, _, given in ray.actors if kind is ShardActor]
    assert [given[-1] for given in workers] == ray.boards * 2


def test_without_a_fit_node_there_is_no_board_and_nobody_is_asked_for_progress(work):
    assert work({}).actors == []


def test_workers_are_on_their_node_or_nowhere(work):
    asked = [options["scheduling_strategy"] for options in work({FIT: {"CPU": 2.0}}).options_of(ShardActor)]
    assert [(where.node_id, where.soft) for where in asked] == [(FIT, False)] * 2
