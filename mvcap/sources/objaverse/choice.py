"""Which objects of Objaverse are asked for, and what each is."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mvcap.categories import prompt_names
from mvcap.errors import AssetFolderError


@dataclass(frozen=True, slots=True)
class Choice:
    """What is known of an object before its annotation is read."""

    categories: tuple[str, ...]
    """As a prompt says them; there should be exactly one."""
    similarity: float | None = None


def read_uids(path: Path) -> list[str]:
    """Read a list of uids, one a line; a byte-order mark, CRLF and blank lines do no harm.

    Raises:
        AssetFolderError: it cannot be read.
    """
    try:
        lines = path.expanduser().read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AssetFolderError(f"cannot read the list of uids {path}: {error}") from error
    return [uid for line in lines if (uid := line.strip())]


def lvis_choices(lvis: Mapping[str, Iterable[str]]) -> dict[str, Choice]:
    """Map every object of the LVIS lists to its category."""
    names = prompt_names(lvis)
    categories: dict[str, set[str]] = defaultdict(set)
    for label, uids in lvis.items():
        for uid in uids:
            categories[uid].add(names[label])
    return {uid: Choice(tuple(sorted(held))) for uid, held in categories.items()}


def selection_choices(path: Path) -> dict[str, Choice]:
    """Read the objects that `mvcap filter` chose.

    Raises:
        AssetFolderError: the file cannot be read, is not of `mvcap filter`, or contradicts itself.
    """
    from mvcap.selected import read_selection

    return {item.source_id: Choice((item.category,), item.similarity) for item in read_selection(path)}


def restrict(choices: Mapping[str, Choice], uids: Iterable[str] | None) -> dict[str, Choice]:
    """Keep the objects that are named; a named one that nothing tells the category of stays, without one."""
    if uids is None:
        return dict(choices)
    return {uid: choices.get(uid, Choice(())) for uid in uids}
