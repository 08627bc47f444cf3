"""The actors of a run: hired where nodes have room, fed from one ledger, replaced when they die."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, RayActorError, RayTaskError

from mvcap.commits import StageName
from mvcap.errors import DeviceFaultError, InfrastructureError
from mvcap.places import Place
from pipelines.ledger import Assignment, Ledger
from pipelines.placement import Demand, Placement, place
from pipelines.runners.ray_actors import ShardActor, take_room
from pipelines.runners.ray_board import Board
from pipelines.runners.ray_connection import HEAD_CHECK_S, POLL_S, cause_of, death_of
from pipelines.runners.ray_nodes import (
    Node,
    actor_options,
    board_options,
    demand_of,
    living_nodes,
    ray_needs,
)
from pipelines.stages import Observer, Stage

log = logging.getLogger(__name__)

CLOSING_S = 3.0
SHOW_EVERY_S = 1.0
MAX_STARTS_LOST = 3
"""Actors that may die before they are ready on nodes that live, in a row, before the run ends."""


@dataclass(slots=True)
class Member:
    """An actor and what it is doing."""

    demand: Demand
    actor: Any
    node: str
    assignment: Assignment | None = None
    """None while it starts or is idle."""


class Crew:
    """All actors of a run.

    Args:
        nodes: returns those that may get work at present, by their ids.
        drop_views: remove a shard's rendered views once it is captioned.
    """

    def __init__(
        self,
        stages: Sequence[Stage[Any, Any]],
        root: Place,
        *,
        nodes: Callable[[], Mapping[str, Node]],
        drop_views: bool,
    ) -> None:
        self._stages = {stage.name: stage for stage in stages}
        self._root = root.absolute()
        self._drop_views = drop_views
        self._board: Any = None
        """Opened with the first worker, beside it."""
        self._counts: Any = None
        """Reference to what the board is asked for and has not answered."""
        self._busy: dict[Any, Member] = {}
        """Object reference of the running call -> who runs it."""
        self._idle: dict[StageName, list[Member]] = {name: [] for name in self._stages}
        self._called_for: dict[StageName, list[Any]] = {name: [] for name in self._stages}
        """Calls that wait for a node which has room for a worker."""
        self._starts_lost = 0
        self._look_at_nodes = nodes
        self._nodes: Mapping[str, Node] = {}
        self._short_handed = True
        """Whether somebody has died, so that the nodes have room again."""

    def work(self, ledger: Ledger, observer: Observer, stop: threading.Event) -> None:
        """Hand out shards and take in reports until the ledger is empty, or until told to stop.

        Raises:
            InfrastructureError: no node is left, or workers die for reasons that no object explains.
        """
        nodes_at = shown_at = 0.0
        while not (ledger.done or stop.is_set()):
            if self._short_handed or time.monotonic() > nodes_at:
                self._follow_nodes()
                nodes_at = time.monotonic() + HEAD_CHECK_S
            self._assign(ledger)
            for call in self._finished(stop):
                self._take_in(call, ledger, observer)
            if time.monotonic() > shown_at:
                self._show_progress(observer)
                shown_at = time.monotonic() + SHOW_EVERY_S

    def _follow_nodes(self) -> None:
        """Look which nodes there are, and hire where they have room for more."""
        nodes = self._look_at_nodes()
        if nodes == self._nodes and not self._short_handed:
            return
        self._nodes, self._short_handed = nodes, False
        for name, idle in self._idle.items():
            self._idle[name] = [member for member in idle if member.node in nodes]
        demands = [demand_of(stage, nodes) for stage in self._stages.values()]
        placements = place(demands, {node.id: node.has for node in nodes.values()})
        for demand in demands:
            self._staff(demand, placements[demand.stage])

    def _staff(self, demand: Demand, placement: Placement) -> None:
        """Hire whom a stage lacks; those whom a node has left no room for stay where they are."""
        present = Counter(member.node for member in self._members() if member.demand == demand)
        missing = placement.total - present.total()
        for node, count in placement.on.items():
            for _ in range(min(count - present[node], missing)):
                self._hire(demand, node)
                missing -= 1
        self._call_for(demand, max(min(placement.waiting, missing), 0))
        if not placement.on:
            needs = ", ".join(f"{name} {amount:g}" for name, amount in demand.needs.items())
            log.warning("no node has room for a worker to %s (%s): waiting for one", demand.stage, needs)

    def _members(self) -> Iterator[Member]:
        yield from self._busy.values()
        for idle in self._idle.values():
            yield from idle

    def _call_for(self, demand: Demand, workers: int) -> None:
        """Let Ray know for how many workers no node has room, so that a cluster which can grow does.

        They are hired where a node that joins was found fit; Ray itself would put them on any other.
        """
        calls = self._called_for[demand.stage]
        if calls:
            _, calls = ray.wait(calls, num_returns=len(calls), timeout=0)
        for call in calls[workers:]:
            ray.cancel(call)
        more: Any = ray.remote(max_retries=0, **ray_needs(demand))(take_room)
        self._called_for[demand.stage] = calls[:workers] + [
            more.remote() for _ in range(workers - len(calls))
        ]

    def _hire(self, demand: Demand, node: str) -> None:
        if self._board is None:
            self._board = ray.remote(Board).options(**board_options(node)).remote()
        remote = ray.remote(ShardActor).options(**actor_options(demand, node))
        stage = self._stages[demand.stage]
        member = Member(demand, remote.remote(stage, self._root, self._drop_views, self._board), node)
        self._busy[member.actor.open.remote()] = member

    def _finished(self, stop: threading.Event) -> list[Any]:
        """Wait a while for a call to end, and return all that have."""
        calls = list(self._busy)
        if not calls:  # there is no node to hire on
            stop.wait(POLL_S)
            return []
        finished, _ = ray.wait(calls, num_returns=1, timeout=POLL_S)
        if finished:
            finished, _ = ray.wait(calls, num_returns=len(calls), timeout=0)
        return list(finished)

    def _show_progress(self, observer: Observer) -> None:
        """Pass on what the board was asked for last time, and ask again; nobody waits while it starts.

        One that died is restarted by Ray, and its counts are no loss.
        """
        if self._board is None:
            return
        if self._counts is not None:
            answered, _ = ray.wait([self._counts], timeout=0)
            if not answered:
                return
            with suppress(RayActorError):
                for name, records in ray.get(self._counts).items():
                    observer.advance(name, records)
        self._counts = self._board.take.remote()

    def _assign(self, ledger: Ledger) -> None:
        for name, idle in self._idle.items():
            while idle and (assignment := ledger.take(name)) is not None:
                member = idle.pop()
                member.assignment = assignment
                self._busy[member.actor.run.remote(assignment)] = member

    def _take_in(self, call: Any, ledger: Ledger, observer: Observer) -> None:
        member = self._busy.pop(call)
        try:
            answer = ray.get(call)
        except RayTaskError as error:
            cause = cause_of(error)
            if not isinstance(cause, DeviceFaultError):
                raise cause from None
            self._lose(member, str(cause), ledger)  # its process cannot use the device any more
            return
        except (RayActorError, ActorUnschedulableError) as error:
            self._lose(member, death_of(error), ledger)
            return
        self._starts_lost = 0
        if member.assignment:
            ledger.finish(member.assignment, size=answer.bytes if answer else 0)
            if answer:
                observer.finish(answer)
            member.assignment = None
        self._idle[member.demand.stage].append(member)

    def _lose(self, member: Member, cause: str, ledger: Ledger) -> None:
        """Give a dead actor's work back without blame; others are hired once the nodes are known again."""
        ray.kill(member.actor)  # it may only be out of reach, and still at work
        self._short_handed = True
        if member.assignment:
            log.warning("lost the worker at %s; it will be done again: %s", member.assignment, cause)
            ledger.lose(member.assignment, cause)
        elif member.node in living_nodes():
            self._starts_lost += 1
            if self._starts_lost > MAX_STARTS_LOST:
                raise InfrastructureError(f"workers to {member.demand.stage} die while they start: {cause}")

    def dismiss(self) -> None:
        """Let idle actors close what they hold, and end the others; their children die with them."""
        idle = [member for members in self._idle.values() for member in members]
        if closing := [member.actor.close.remote() for member in idle]:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSING_S)
        for member in self._members():
            ray.kill(member.actor)
        for calls in self._called_for.values():
            for call in calls:
                ray.cancel(call)
