"""Read long JSON lists piece by piece: the largest here have millions of items and are some 10⁹ bytes."""

import json
from collections.abc import Iterator
from typing import IO, Any, Final

CHUNK: Final = 2**20
LONGEST_ITEM: Final = 2**26
"""Characters of one item; what is longer is not of these formats."""
BLANK: Final = " \t\r\n"


def iterate_list(stream: IO[str]) -> Iterator[Any]:
    """Yield the items of one JSON list.

    Raises:
        ValueError: it is no list, or broken.
    """
    decoder = json.JSONDecoder()
    buffer = stream.read(CHUNK).lstrip(BLANK + "\ufeff")
    if not buffer.startswith("["):
        raise ValueError("not a JSON list")
    position, ended = 1, False
    while True:
        position = _skip(buffer, position)
        if buffer.startswith("]", position):
            return
        try:
            item, end = decoder.raw_decode(buffer, position)
            complete = end < len(buffer) or ended
        except ValueError:
            if ended or len(buffer) - position > LONGEST_ITEM:
                raise
            complete = False
        if complete:
            yield item
            position = end
        else:
            more = stream.read(CHUNK)
            ended = not more
            buffer, position = buffer[position:] + more, 0
            if ended and not buffer.strip(BLANK):
                raise ValueError("the JSON list has no end")


def _skip(buffer: str, position: int) -> int:
    while position < len(buffer) and buffer[position] in BLANK + ",":
        position += 1
    return position
