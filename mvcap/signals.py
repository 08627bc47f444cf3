"""SIGINT and SIGTERM end the command in order, and soon."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final, NoReturn

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
STOPPED_S = 8
"""A run may take this long to end in order before the process just ends."""


class Stopped(BaseException):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        self.number = number


def on_signal(number: int, frame: FrameType | None) -> NoReturn:
    """End in order at the first signal, at once at the second or when that takes too long."""
    _end_soon(number)
    raise Stopped(number)


def _end_soon(number: int) -> None:
    for each in SIGNALS:
        signal.signal(each, lambda again, _: os._exit(128 + again))
    signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + number))
    signal.alarm(STOPPED_S)


def listen() -> None:
    """Raise `Stopped` in the main thread at SIGINT or SIGTERM."""
    for each in SIGNALS:
        signal.signal(each, on_signal)


@dataclass(slots=True)
class Noted:
    """What a signal asked for."""

    number: int | None = None
    """Of the first signal; None as long as there was none."""


@contextmanager
def noting() -> Iterator[Noted]:
    """Note the first signal instead of raising it, for work that looks now and then and ends by itself.

    It has `STOPPED_S` for that, and a second signal ends the process at once. Where nobody listens, as
    outside the main thread, signals are left as they are.
    """
    noted = Noted()

    def note(number: int, frame: FrameType | None) -> None:
        _end_soon(number)
        noted.number = number

    in_main = threading.current_thread() is threading.main_thread()
    heard = [each for each in SIGNALS if in_main and signal.getsignal(each) is on_signal]
    for each in heard:
        signal.signal(each, note)
    try:
        yield noted
    finally:
        for each in heard:
            if noted.number is None:
                signal.signal(each, on_signal)


def ignore() -> None:
    """Leave signals to the parent, which ends this process: a terminal sends Ctrl-C to both."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
