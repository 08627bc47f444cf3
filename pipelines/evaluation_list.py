"""Which objects a list of evaluation objects names: by uid, the source's id, asset or a folder of assets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mvcap.errors import UsageError
from mvcap.records import SelectedObject


@dataclass(frozen=True, slots=True)
class Named:
    """What a list names."""

    uids: frozenset[str]
    unknown: tuple[str, ...]
    """Entries that name none of the objects, in the list's order."""


def read_entries(configured: str | Sequence[str], named: str = "plan.evaluation") -> list[str]:
    """Return the entries of a list, or of the file that it is in, each once and without blank ones.

    A file may have a byte order mark and any line ends.

    Args:
        named: the setting or option that names the file.

    Raises:
        UsageError: the file cannot be read.
    """
    lines: Iterable[str] = configured
    if isinstance(configured, str):
        try:
            lines = Path(configured).read_text("utf-8-sig").split("\n")  # universal newlines
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"cannot read {named}={configured}: {error}") from error
    return list(dict.fromkeys(entry for line in lines if (entry := line.strip())))


def find_named(
    entries: Sequence[str], objects: Iterable[SelectedObject], *, below_folders: bool = True
) -> Named:
    """Look every entry up among the uids, source ids and asset paths.

    Args:
        below_folders: whether a folder names all assets below it.
    """
    if not entries:
        return Named(frozenset(), ())
    entry_of = {_absolute(entry): entry for entry in entries} | {entry: entry for entry in entries}
    found: set[str] = set()
    known: set[str] = set()
    for item in objects:
        asset = Path(item.record.asset)
        listed = asset.parent / item.record.source_id  # the folder of an object whose asset is a list of many
        folders = asset.parents if below_folders else ()
        names = (item.uid, item.record.source_id, *map(str, (asset, *folders, listed)))
        if named_by := {entry_of[name] for name in names if name in entry_of}:
            found.add(item.uid)
            known |= named_by
    return Named(frozenset(found), tuple(entry for entry in entries if entry not in known))


def _absolute(entry: str) -> str:
    """Read an entry as a path; one that the system cannot have stays as it is."""
    try:
        return str(Path(entry).expanduser().absolute())
    except (RuntimeError, ValueError):
        return entry
