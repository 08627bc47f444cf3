"""What storage has answered about many objects, asked all at once: single questions take 20 ms and more each.

The answers count for the thread that asked, until the end of a block, and never for what it changed itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from mvcap.places import FileFacts, ObjectPlace


@dataclass(slots=True)
class Answers:
    """What is known; None stands for an object that is not there."""

    facts: dict[ObjectPlace, FileFacts | None] = field(default_factory=dict)
    contents: dict[ObjectPlace, tuple[bytes, str] | None] = field(default_factory=dict)

    def forget(self, place: ObjectPlace) -> None:
        self.facts.pop(place, None)
        self.contents.pop(place, None)


_known: ContextVar[Answers | None] = ContextVar("answers", default=None)


def known() -> Answers:
    """Return the answers that count now."""
    return _known.get() or Answers()


@contextmanager
def counting(answers: Answers) -> Iterator[None]:
    """Let answers count until the end of the block."""
    token = _known.set(answers)
    try:
        yield
    finally:
        _known.reset(token)
