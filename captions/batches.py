"""Batches that fit the device: halve on out-of-memory, and remember."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ShrinkingBatches(Generic[Item, Result]):
    """Runs a function over items in batches, each as large as the device has been seen to bear.

    The first call tries all items at once. Whenever `run` raises `out_of_memory` its batch is halved,
    down to one item, and no later batch of this object is larger. The error leaves only where a
    single item does not fit.
    """

    def __init__(
        self, run: Callable[[Sequence[Item]], Sequence[Result]], out_of_memory: type[Exception]
    ) -> None:
        self._run = run
        self._out_of_memory = out_of_memory
        self.limit: int | None = None
        """Largest batch to try; None while memory has always sufficed."""

    def __call__(self, items: Sequence[Item]) -> list[Result]:
        """Return one result per item, in order."""
        results: list[Result] = []
        while len(results) < len(items):
            batch = items[len(results) :][: self.limit]
            try:
                results += self._run(batch)
            except self._out_of_memory:
                if len(batch) == 1:
                    raise
                self.limit = len(batch) // 2
        return results
