"""How many shards may be begun and unfinished at once: bounded by the bytes that their views take. Pure.

Where captioners are slower than renderers, rendered views pile up on the dataset's disk; so a shard is begun
only while there is room for all that is begun.
"""

from collections.abc import Callable


class InFlight:
    """The shards that are begun and not finished, and the bytes that their views take or will take.

    Args:
        limit_bytes: how much they may take together; None sets no limit. One shard may always be begun.
        limit_shards: how many there may be; None sets no limit.
        views_of: tells how many views a shard is expected to have.
        view_bytes: what a view takes, as long as none has been measured.
    """

    def __init__(
        self,
        *,
        limit_bytes: float | None = None,
        limit_shards: int | None = None,
        views_of: Callable[[int], int] = lambda shard: 1,
        view_bytes: float = 1.0,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._limit_shards = limit_shards
        self._views_of = views_of
        self._view_bytes = view_bytes
        self._expected: dict[int, int] = {}
        """Shard -> views, of those begun whose bytes are not known yet."""
        self._known: dict[int, int] = {}
        """Shard -> bytes, of those begun."""
        self._expected_views = self._known_bytes = 0
        self._seen_views = self._seen_bytes = 0

    def __contains__(self, shard: int) -> bool:
        return shard in self._expected or shard in self._known

    def __len__(self) -> int:
        return len(self._expected) + len(self._known)

    @property
    def bytes(self) -> float:
        """What the begun shards take, as far as one knows."""
        return self._known_bytes + self._expected_views * self._view_bytes

    def admits(self, shard: int) -> bool:
        """Tell whether a shard may be begun now."""
        if not len(self):
            return True
        if self._limit_shards is not None and len(self) >= self._limit_shards:
            return False
        if self._limit_bytes is None:
            return True
        return self.bytes + self._views_of(shard) * self._view_bytes <= self._limit_bytes

    def begin(self, shard: int) -> None:
        """Note that work on a shard has begun; nothing happens where it had before."""
        if shard not in self:
            self._expected[shard] = self._views_of(shard)
            self._expected_views += self._expected[shard]

    def measure(self, shard: int, size: int) -> None:
        """Note the bytes that a begun shard's views take; others are expected to take as much."""
        views = self._expected.pop(shard)
        self._expected_views -= views
        self._known[shard] = size
        self._known_bytes += size
        self._seen_views += views
        self._seen_bytes += size
        if self._seen_views:
            self._view_bytes = self._seen_bytes / self._seen_views

    def end(self, shard: int) -> None:
        """Note that a shard is finished."""
        self._expected_views -= self._expected.pop(shard, 0)
        self._known_bytes -= self._known.pop(shard, 0)
