"""The board on which a cluster's workers chalk up their progress.

A file of its own, because the board's process imports what stands here: with a worker's imports it would take
a second longer to start, and 100 MB.
"""


class Board:
    """An actor that adds up what the workers have made since the driver last looked."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def advance(self, stage: str, records: int) -> None:
        self._counts[stage] = self._counts.get(stage, 0) + records

    def take(self) -> dict[str, int]:
        counts, self._counts = self._counts, {}
        return counts
