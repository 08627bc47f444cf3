"""The actors of a run: hired for each stage, fed from one ledger, replaced when they die."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from mvcap.errors import DeviceFaultError, InfrastructureError
from mvcap.places import Place
from pipelines.ledger import Assignment, Ledger
from pipelines.runners.ray_actors import Board, ShardActor
from pipelines.runners.ray_connection import HEAD_CHECK_S, POLL_S, cause_of, death_of
from pipelines.runners.ray_nodes import default_workers, gpus_for, require_a_node
from pipelines.stages import Observer, Stage

log = logging.getLogger(__name__)

CLOSING_S = 3.0
MAX_STARTS_LOST = 3
"""Actors that may die before they are ready, in a row, before the run ends."""


@dataclass(slots=True)
class Member:
    """An actor and what it is doing."""

    stage: Stage[Any, Any]
    actor: Any
    assignment: Assignment | None = None
    """None while it starts or is idle."""


class Crew:
    """All actors of a run."""

    def __init__(self, stages: Sequence[Stage[Any, Any]], root: Place, *, drop_views: bool) -> None:
        self._root = root.absolute()
        self._drop_views = drop_views
        self._board: Any = ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()
        self._busy: dict[Any, Member] = {}
        """Object reference of the running call -> who runs it."""
        self._idle: list[Member] = []
        self._starts_lost = 0
        for stage in stages:
            for _ in range(stage.workers or default_workers(stage)):
                self._hire(stage)

    def _hire(self, stage: Stage[Any, Any]) -> None:
        remote = ray.remote(ShardActor).options(
            num_cpus=stage.resources.cpus, num_gpus=gpus_for(stage), max_restarts=0
        )
        member = Member(stage, remote.remote(stage, self._root, self._drop_views, self._board))
        self._busy[member.actor.open.remote()] = member

    def work(self, ledger: Ledger, observer: Observer, stop: threading.Event) -> None:
        """Hand out shards and take in reports until the ledger is empty, or until told to stop.

        Raises:
            InfrastructureError: no node is left.
        """
        nodes_at = time.monotonic() + HEAD_CHECK_S
        while not (ledger.done or stop.is_set()):
            self._assign(ledger)
            finished, _ = ray.wait(list(self._busy), num_returns=1, timeout=POLL_S)
            for call in finished:
                self._take_in(call, ledger, observer)
            self._show_progress(observer)
            if time.monotonic() > nodes_at:
                require_a_node()
                nodes_at = time.monotonic() + HEAD_CHECK_S

    def _show_progress(self, observer: Observer) -> None:
        """Pass on what the board says; one that died is restarted by Ray, and its counts are no loss."""
        try:
            counts = ray.get(self._board.take.remote(), timeout=POLL_S)
        except (RayActorError, GetTimeoutError):
            return
        for name, records in counts.items():
            observer.advance(name, records)

    def _assign(self, ledger: Ledger) -> None:
        for member in list(self._idle):
            if (assignment := ledger.take(member.stage.name)) is not None:
                self._idle.remove(member)
                member.assignment = assignment
                self._busy[member.actor.run.remote(assignment)] = member

    def _take_in(self, call: Any, ledger: Ledger, observer: Observer) -> None:
        member = self._busy.pop(call)
        try:
            report = ray.get(call)
        except RayTaskError as error:
            cause = cause_of(error)
            if not isinstance(cause, DeviceFaultError):
                raise cause from None
            ray.kill(member.actor)  # its process cannot use the device any more; another one can
            self._replace(member, str(cause), ledger)
            return
        except RayActorError as error:
            self._replace(member, death_of(error), ledger)
            return
        self._starts_lost = 0
        if member.assignment:
            ledger.finish(member.assignment, size=report.bytes if report else 0)
        if report:
            observer.finish(report)
        member.assignment = None
        self._idle.append(member)

    def _replace(self, member: Member, cause: str, ledger: Ledger) -> None:
        """Hire anew for an actor that died, and give its shard back without blame."""
        if member.assignment:
            log.warning("lost the worker at %s; it will be done again: %s", member.assignment, cause)
            ledger.lose(member.assignment, cause)
        else:
            self._starts_lost += 1
            if self._starts_lost > MAX_STARTS_LOST:
                raise InfrastructureError(f"workers for {member.stage.name} die while they start: {cause}")
        self._hire(member.stage)

    def dismiss(self) -> None:
        """Let idle actors close what they hold, and end the others; their children die with them."""
        closing = [member.actor.close.remote() for member in self._idle]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSING_S)
        for member in [*self._idle, *self._busy.values()]:
            ray.kill(member.actor)
