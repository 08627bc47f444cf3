"""Make a class name of somebody's list one that a prompt can hold."""

import csv
import re
from collections.abc import Mapping
from typing import Final

TITLE: Final = re.compile(r"[A-Z][a-z]+")


def clean_name(listed: str, reviewed: Mapping[str, str] | None = None, *, lower: bool = False) -> str:
    """Return the name that a person has chosen for a listed one, or else the listed one made plain.

    Plain: without underscores, doubled blanks and what stands in parentheses; of alternatives (`shorts /
    trunks`) the first.

    Args:
        lower: for lists that capitalise at random. Words that are not merely capitalised, such as PVC or
            iPod, stay as they are.
    """
    spaced = " ".join(listed.replace("_", " ").split())
    if reviewed and (chosen := reviewed.get(spaced.casefold())):
        return chosen
    plain = " ".join(re.sub(r"\([^)]*\)", " ", spaced).split(" / ")[0].split())
    if not lower:
        return plain
    return " ".join(word.lower() if TITLE.fullmatch(word) else word for word in plain.split(" "))


def read_reviewed(text: str) -> dict[str, str]:
    """Read a table of the columns `listed` and `name`: from listed names, casefolded, to chosen ones."""
    return {row["listed"].casefold(): row["name"] for row in csv.DictReader(text.splitlines())}
