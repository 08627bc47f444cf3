"""SIGINT and SIGTERM end the command in order, and soon."""

import os
import signal
from types import FrameType
from typing import NoReturn

STOPPED_S = 8
"""A run may take this long to end in order before the process just ends."""


class Stopped(BaseException):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        self.number = number


def on_signal(number: int, frame: FrameType | None) -> NoReturn:
    """End in order at the first signal, at once at the second or when that takes too long."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda again, _: os._exit(128 + again))
    signal.signal(signal.SIGALRM, lambda *_: os._exit(128 + number))
    signal.alarm(STOPPED_S)
    raise Stopped(number)


def listen() -> None:
    """Raise `Stopped` in the main thread at SIGINT or SIGTERM."""
    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
