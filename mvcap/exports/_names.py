"""Names of folders that people can read and no category can break out of."""

import re
from typing import Final

from mvcap.plan import make_uid

PLAIN: Final = re.compile(r"[a-z0-9]+(?:[ _-][a-z0-9]+)*")
LONGEST: Final = 64
"""Characters of a folder's name; file systems allow 255 bytes."""
RESERVED: Final = re.compile(r"con|prn|aux|nul|(?:com|lpt)[0-9]")
"""Devices on Windows, under which no folder can be made."""


def folder_name(category: str) -> str:
    """Return a category itself where it is plain, else a slug with a hash of it: no two share a name.

    Plain are lower-case ASCII words and digits, so that names differ where case does not count.
    """
    if PLAIN.fullmatch(category) and len(category) <= LONGEST and not RESERVED.fullmatch(category):
        return category
    return make_uid("", category)


def line(text: str) -> str:
    """Put any text on one line, as lists with a name a line need it."""
    return " ".join(text.split())
