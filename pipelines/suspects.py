"""Which of a shard's objects takes its workers down: each is tried alone, one at a time. Pure."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MAX_LOSSES_ALONE: Final = 2
"""Workers that an object takes down, tried alone, until it is a culprit: one may be chance, such as a node
that left."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """An object over which workers died, also while they had nothing else to do."""

    uid: str
    losses: int
    """Workers that died over it or over its shard."""
    cause: str
    """What was last said of such a death."""


class Suspects:
    """The objects of a shard over which workers died too often.

    Args:
        uids: of the objects to try.
        losses: workers that the shard had taken down before.
    """

    def __init__(self, uids: Sequence[str], losses: int) -> None:
        self._waiting = deque(uids)
        self._losses_before = losses
        self._losses: Counter[str] = Counter()
        self._culprits: dict[str, Culprit] = {}

    @property
    def next(self) -> str | None:
        """The object to try now, until it is cleared or lost; None once all were tried."""
        return self._waiting[0] if self._waiting else None

    @property
    def culprits(self) -> Mapping[str, Culprit]:
        """What has been found so far, by uid."""
        return self._culprits

    def clear(self, uid: str) -> None:
        """Note that an object went through, alone."""
        assert self._waiting[0] == uid, f"{uid} was not being tried"
        self._waiting.popleft()

    def lose(self, uid: str, cause: str) -> None:
        """Note that a worker died over an object, alone; too often, and it is a culprit."""
        assert self._waiting[0] == uid, f"{uid} was not being tried"
        self._losses[uid] += 1
        if self._losses[uid] == MAX_LOSSES_ALONE:
            self._culprits[uid] = Culprit(uid, self._losses_before + self._losses[uid], cause)
            self._waiting.popleft()
