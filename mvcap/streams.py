"""stdout and stderr that outlive whoever reads them."""

import io
import os
import sys
from typing import Any, TextIO


class _Forgiving(io.FileIO):
    """A descriptor whose readers may leave: what they did not want to read is no error.

    Args:
        everything: forgive whatever goes wrong, such as a full disk under a log.
    """

    def __init__(self, descriptor: int, *, everything: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._forgiven = OSError if everything else BrokenPipeError

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except self._forgiven:
            return len(data)


def forgive_readers_that_leave() -> None:
    """Make stdout and stderr outlive their readers: only the work itself decides about the exit code."""
    for descriptor in (1, 2):
        _require_open(descriptor)
    sys.stdout = _text_stream(_Forgiving(1, everything=False), sys.stdout)
    sys.stderr = _text_stream(_Forgiving(2, everything=True), sys.stderr)


def _require_open(descriptor: int) -> None:
    """Put /dev/null where a descriptor was closed: the next file to be opened would get its number."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)


def _text_stream(raw: io.FileIO, former: TextIO | None) -> TextIO:
    encoding = former.encoding if former else "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True
    )
