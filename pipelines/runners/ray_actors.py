"""What runs in the processes of a cluster: a shard's work."""

import time
from typing import Any

from mvcap.places import Place
from pipelines.ledger import Assignment
from pipelines.shards import ShardWorker
from pipelines.stages import ShardReport, Stage

SEND_EVERY_S = 1.0


def take_room() -> None:
    """Do nothing, as soon as a node has room for it."""


class ShardActor:
    """A `ShardWorker` in a process of its own."""

    def __init__(self, stage: Stage[Any, Any], root: Place, drop_views: bool, board: Any) -> None:
        self._worker = ShardWorker(stage, root, drop_views=drop_views)
        self._stage = stage.name
        self._board = board
        self._unsent = 0
        self._sent_at = 0.0

    def open(self) -> None:
        """Load the heavy side; errors reach the driver as they are."""
        self._worker.__enter__()

    def run(self, assignment: Assignment) -> ShardReport | None:
        report = self._worker.run(assignment, self._advance)
        self._send()
        return report

    def close(self) -> None:
        self._worker.__exit__(None, None, None)

    def _advance(self, records: int) -> None:
        self._unsent += records
        if time.monotonic() - self._sent_at > SEND_EVERY_S:
            self._send()

    def _send(self) -> None:
        self._board.advance.remote(self._stage, self._unsent)
        self._unsent, self._sent_at = 0, time.monotonic()
