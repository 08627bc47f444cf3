"""Which shard may start which stage next: the one piece of scheduling that both runners share. Pure."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from mvcap.commits import StageName
from mvcap.errors import InfrastructureError
from pipelines.in_flight import InFlight
from pipelines.suspects import Culprit, Suspects

MAX_LOSSES = 3
"""Times that a worker may die over a shard, without blame, before its objects are tried alone."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is to do now."""

    stage: StageName
    shard: int
    alone: str | None = None
    """Try this object only and commit nothing; None does the shard."""
    culprits: tuple[Culprit, ...] = ()
    """Objects to leave out and to reject, because they take their workers down."""

    def __str__(self) -> str:
        return f"the {self.stage} of shard {self.shard}" + (f", object {self.alone}" if self.alone else "")


class Ledger:
    """Shards waiting, running and done.

    Args:
        todo: for each stage, in their order, the shards that it still has to do. A shard starts a stage
            once the stages before it are done with that shard; different shards overlap.
        in_flight: decides how many shards may be begun and unfinished at once.
        objects_of: tells the uids of a shard's objects.
    """

    def __init__(
        self,
        todo: Mapping[StageName, Collection[int]],
        *,
        in_flight: InFlight,
        objects_of: Callable[[int], Sequence[str]],
    ) -> None:
        self._route: dict[int, deque[StageName]] = {}
        for stage, shards in todo.items():
            for shard in shards:
                self._route.setdefault(shard, deque()).append(stage)
        self._new: dict[StageName, deque[int]] = {stage: deque() for stage in todo}
        """Shards that are not begun, by their first stage."""
        self._begun: dict[StageName, deque[int]] = {stage: deque() for stage in todo}
        """Begun shards that wait for a stage: they come before new ones."""
        for shard in sorted(self._route):
            self._new[self._route[shard][0]].append(shard)
        self._in_flight = in_flight
        self._losses: Counter[int] = Counter()
        self._objects_of = objects_of
        self._suspects: dict[int, Suspects] = {}
        """Of shards in the present stage whose objects are, or have been, tried alone."""
        self._trying: int | None = None
        """The one shard that has an object on trial: a second culprit must not disturb the first one's."""

    @property
    def done(self) -> bool:
        return not self._route

    def take(self, stage: StageName) -> Assignment | None:
        """Hand out the next assignment for a stage, or None if it has to wait."""
        for _ in range(len(begun := self._begun[stage])):
            shard = begun.popleft()
            if not self._on_trial(shard) or self._trying in (None, shard):
                return self._assignment(stage, shard)
            begun.append(shard)
        new = self._new[stage]
        if not (new and self._in_flight.admits(new[0])):
            return None
        self._in_flight.begin(shard := new.popleft())
        return self._assignment(stage, shard)

    def _on_trial(self, shard: int) -> str | None:
        return suspects.next if (suspects := self._suspects.get(shard)) else None

    def _assignment(self, stage: StageName, shard: int) -> Assignment:
        if uid := self._on_trial(shard):
            self._trying = shard
            return Assignment(stage, shard, alone=uid)
        suspects = self._suspects.get(shard)
        return Assignment(stage, shard, culprits=tuple(suspects.culprits.values()) if suspects else ())

    def finish(self, assignment: Assignment, *, size: int = 0) -> None:
        """Note that a worker did what it was to do; a shard then waits for its next stage.

        Args:
            size: bytes of the file that was committed.
        """
        stage, shard = assignment.stage, assignment.shard
        route = self._route[shard]
        assert route[0] == stage, f"shard {shard} finished {stage} while {route[0]} was due"
        if assignment.alone:
            self._suspects[shard].clear(assignment.alone)
            self._try_on(stage, shard)
            return
        route.popleft()
        self._suspects.pop(shard, None)
        self._losses.pop(shard, None)
        if route:
            self._in_flight.measure(shard, size)
            self._begun[route[0]].append(shard)
        else:
            del self._route[shard]
            self._in_flight.end(shard)

    def lose(self, assignment: Assignment, cause: str) -> None:
        """Put an assignment back whose worker died for a reason that the worker could not tell.

        Nobody is blamed at first. A shard that loses too many workers has its objects tried alone, so that
        one that takes down its process, or its node, is found.

        Raises:
            InfrastructureError: a shard loses too many workers, though each of its objects goes through alone
                or is left out.
        """
        stage, shard = assignment.stage, assignment.shard
        if assignment.alone:
            self._suspects[shard].lose(assignment.alone, cause)
            self._try_on(stage, shard)
            return
        self._losses[shard] += 1
        if self._losses[shard] == MAX_LOSSES:
            if shard in self._suspects:
                raise InfrastructureError(
                    f"workers died {2 * MAX_LOSSES} times over the {stage} of shard {shard}, though each of "
                    f"its objects went through alone or was left out; last: {cause}"
                )
            self._suspects[shard] = Suspects(self._objects_of(shard), MAX_LOSSES)
            del self._losses[shard]
        self._begun[stage].appendleft(shard)

    def _try_on(self, stage: StageName, shard: int) -> None:
        """Wait for the next trial, or for the shard's own turn once there is none left."""
        if self._on_trial(shard) is None:
            self._trying = None
        self._begun[stage].appendleft(shard)
