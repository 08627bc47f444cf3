"""Synonyms from the files of WordNet 3, as Debian's package `wordnet-base` installs them.

The files are read as wndb(5WN) describes them. NLTK's reader wants files that the package leaves out and
refuses folders other than its own; `wn` reads another format and downloads it.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/usr/share/wordnet")
"""Where Debian and Ubuntu put it."""
FILES: Final = ("index.noun", "data.noun")

THINGS: Final = {"05": "animal", "06": "artifact", "08": "body", "13": "food", "17": "object", "20": "plant"}
"""Lexicographer files of what can be seen as an object (lexnames(5WN)): so a table is no list of numbers."""


def is_installed(folder: Path = FOLDER) -> bool:
    """Tell whether a folder holds WordNet's nouns."""
    return all((folder / name).is_file() for name in FILES)


def version(folder: Path = FOLDER) -> str:
    """Return 8 hex digits of the hash of the files: editions differ, and captions are judged by them."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:8]


def find_synonyms(nouns: Iterable[str], folder: Path = FOLDER) -> dict[str, list[str]]:
    """Find the other names of each noun in the commonest sense in which it is a thing.

    In rarer senses a bed is a layer and a stool a pot, which no caption means.

    Args:
        nouns: lower-case words separated by single spaces, such as `coffee table`.

    Returns:
        Noun -> its synonyms, lower-case and sorted; nouns that WordNet lacks have none.
    """
    wanted = {noun.replace(" ", "_"): noun for noun in nouns}
    found: dict[str, list[str]] = {noun: [] for noun in wanted.values()}
    with (folder / "data.noun").open("rb") as data:
        for lemma, offsets in _senses(folder / "index.noun"):
            if noun := wanted.get(lemma):
                lines = ((data.seek(offset), data.readline()) for offset in offsets)
                things = (names for offset, line in lines if (names := _names_of_thing(offset, line)))
                found[noun] = sorted({*next(things, [])} - {noun})
    return found


def _senses(index: Path) -> Iterator[tuple[str, list[int]]]:
    """Yield each lemma with the places of its senses in the data file, the commonest first."""
    with index.open(encoding="ascii") as lines:
        for line in lines:
            if line.startswith(" "):  # the licence
                continue
            lemma, _, count, *rest = line.split()
            yield lemma, [int(offset) for offset in rest[-int(count) :]]


def _names_of_thing(offset: int, line: bytes) -> list[str]:
    """Read the names in a synset; none where it is no thing that can be seen."""
    place, kind, _, count, *rest = line.decode("ascii").split()
    assert int(place) == offset, f"data.noun has synset {place} at {offset}: it is not of the same edition"
    if kind not in THINGS:
        return []
    return [name.replace("_", " ").lower() for name in rest[: 2 * int(count, 16) : 2]]
