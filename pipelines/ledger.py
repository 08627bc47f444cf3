"""Which shard may start which stage next: the one piece of scheduling that both runners share. Pure."""

from collections import Counter, deque
from collections.abc import Collection, Mapping

from mvcap.commits import StageName
from mvcap.errors import InfrastructureError

MAX_LOSSES = 3
"""Times that a worker may die over a shard, without blame, before the run ends."""


class Ledger:
    """Shards waiting, running and done.

    Args:
        todo: for each stage, in their order, the shards that it still has to do. A shard starts a stage
            once the stages before it are done with that shard; different shards overlap.
        in_flight: how many shards may be started and unfinished at once.
    """

    def __init__(self, todo: Mapping[StageName, Collection[int]], *, in_flight: int) -> None:
        self._route: dict[int, deque[StageName]] = {}
        for stage, shards in todo.items():
            for shard in shards:
                self._route.setdefault(shard, deque()).append(stage)
        self._waiting: dict[StageName, deque[int]] = {stage: deque() for stage in todo}
        for shard in sorted(self._route):
            self._waiting[self._route[shard][0]].append(shard)
        self._started: set[int] = set()
        self._limit = max(in_flight, 1)
        self._losses: Counter[tuple[StageName, int]] = Counter()

    @property
    def done(self) -> bool:
        return not self._route

    def take(self, stage: StageName) -> int | None:
        """Hand out the next shard for a stage, or None if it has to wait."""
        waiting = self._waiting[stage]
        for _ in range(len(waiting)):
            shard = waiting.popleft()
            if shard in self._started or len(self._started) < self._limit:
                self._started.add(shard)
                return shard
            waiting.append(shard)
        return None

    def finish(self, stage: StageName, shard: int) -> None:
        """Note that a stage is done with a shard, which then waits for its next stage."""
        route = self._route[shard]
        assert route[0] == stage, f"shard {shard} finished {stage} while {route[0]} was due"
        route.popleft()
        if route:
            self._waiting[route[0]].append(shard)
        else:
            del self._route[shard]
            self._started.discard(shard)

    def lose(self, stage: StageName, shard: int, cause: str) -> None:
        """Put a shard back whose worker died for a reason that is not the shard's.

        Raises:
            InfrastructureError: it happened too often to this shard.
        """
        self._losses[stage, shard] += 1
        if self._losses[stage, shard] > MAX_LOSSES:
            raise InfrastructureError(
                f"workers died {MAX_LOSSES + 1} times over the {stage} of shard {shard}, last: {cause}"
            )
        self._waiting[stage].appendleft(shard)
