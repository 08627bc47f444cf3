"""Read long JSON lists piece by piece: the largest here have millions of items and are some 10⁹ bytes."""

import json
import re
from collections.abc import Iterator
from typing import IO, Any, Final

CHUNK: Final = 2**20
LONGEST_ITEM: Final = 2**26
"""Characters of one item; what is longer is not of these formats."""
BEHIND: Final = re.compile(r"[ \t\r\n]*[,\]]")
BLANK: Final = " \t\r\n\ufeff"


def iterate_list(stream: IO[str]) -> Iterator[Any]:
    """Yield the items of one JSON list.

    Raises:
        ValueError: it is no list, or broken.
    """
    reader = _Reader(stream)
    if reader.next_character() != "[":
        raise ValueError("not a JSON list")
    reader.position += 1
    if reader.next_character() == "]":
        return
    while True:
        yield reader.next_item()
        separator = reader.next_character()
        reader.position += 1
        if separator == "]":
            return


class _Reader:
    """As much of a stream as the next item needs."""

    def __init__(self, stream: IO[str]) -> None:
        self.position = 0
        self._stream = stream
        self._buffer = ""
        self._decoder = json.JSONDecoder()

    def next_character(self) -> str:
        """Go to the next character that is no blank, and return it."""
        while True:
            while self.position < len(self._buffer):
                if (character := self._buffer[self.position]) not in BLANK:
                    return character
                self.position += 1
            self._read_more()

    def next_item(self) -> Any:
        """Return the next item, and go to the comma or bracket behind it."""
        self.next_character()
        while True:
            try:
                item, end = self._decoder.raw_decode(self._buffer, self.position)
            except ValueError:
                if len(self._buffer) - self.position > LONGEST_ITEM:
                    raise
            else:
                if BEHIND.match(self._buffer, end):  # else a number may go on in the next chunk
                    self.position = end
                    return item
            self._read_more()

    def _read_more(self) -> None:
        more = self._stream.read(CHUNK)
        if not more:
            raise ValueError("the JSON list breaks off, or an item in it is none")
        self._buffer = self._buffer[self.position :] + more
        self.position = 0
