"""Make a class name of somebody's list one that a prompt can hold."""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mvcap.errors import AssetFolderError

TITLE: Final = re.compile(r"[A-Z][a-z]+")


def clean_name(listed: str, reviewed: Mapping[str, str] | None = None) -> str:
    """Return the name that a person has chosen for a listed one, or else the listed one made plain.

    Plain: without underscores, doubled blanks and what stands in parentheses; and in lower case, but for
    words that are not merely capitalised, such as PVC or iPod.
    """
    spaced = " ".join(listed.replace("_", " ").split())
    if reviewed and (chosen := reviewed.get(spaced.casefold())):
        return chosen
    plain = " ".join(re.sub(r"\([^)]*\)", " ", spaced).split())
    return " ".join(word.lower() if TITLE.fullmatch(word) else word for word in plain.split(" "))


def read_reviewed(text: str) -> dict[str, str]:
    """Read a table of the columns `listed` and `name`: from listed names, casefolded, to chosen ones."""
    return {row["listed"].casefold(): row["name"] for row in csv.DictReader(text.splitlines())}


def read_categories(path: Path, key: str) -> dict[str, str]:
    """Read a table that says of what category each thing is: a CSV file of the columns `key` and `category`.

    Raises:
        AssetFolderError: it cannot be read, lacks a column, or gives one thing two categories.
    """
    categories: dict[str, str] = {}
    try:
        with path.expanduser().open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if not {key, "category"} <= set(reader.fieldnames or ()):
                has = ", ".join(reader.fieldnames or ())
                raise AssetFolderError(f"{path} must have the columns {key} and category; it has {has}")
            for row in reader:
                thing, category = (row[key] or "").strip(), (row["category"] or "").strip()
                if thing and category and categories.setdefault(thing, category) != category:
                    raise AssetFolderError(
                        f"{path} says of {thing!r} both {categories[thing]!r} and {category!r}"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AssetFolderError(f"cannot read {path}: {error}") from error
    return categories
