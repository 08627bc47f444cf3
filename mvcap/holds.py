"""What it is to hold a dataset, however that is kept: see `mvcap.locks`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

Part = tuple[int, int]
"""Slice K of N, 0 <= K < N."""

Guard = Callable[[], None]
"""Raises `LockLostError` once the dataset is no longer held; travels to the workers of a run."""


@dataclass(frozen=True, slots=True)
class SliceAtWork:
    """Another slice of the dataset."""

    facts: dict[str, Any]
    """What it has announced; `host` and `pid` among it."""
    lives: Callable[[], bool]
    """Whether it is still at work; for one on another machine, finding out may take a minute."""


class Hold(Protocol):
    """A dataset, or a slice of one, that is held."""

    @property
    def guard(self) -> Guard:
        """To be called before every commit."""

    def announce(self, **facts: Any) -> None:
        """Tell other drivers who holds it; call it before the first change. `facts` are plain JSON values."""

    def choosing(self) -> AbstractContextManager[None]:
        """Hold the right to choose what a slice will do; other slices wait, so keep it short."""

    def finishing(self) -> AbstractContextManager[bool]:
        """Tell whether no other slice is at work, and let none begin until the end: then all can be read.

        Of slices that end together, the last one is told so.
        """

    def slices_at_work(self) -> Iterator[SliceAtWork]:
        """Yield what every other slice has announced; call it inside `choosing`.

        A slice that has announced nothing is left out: it has not chosen yet, and will look here.
        """


def unguarded() -> None:
    """Let everything pass: nothing is held, or it cannot be lost."""
