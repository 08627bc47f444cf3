"""Objects that were taken out of a dataset for good: a tombstone for each, so that none comes back."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Removal:
    """Why and when an object was taken out."""

    uid: str
    reason: str
    removed_at: float
    """Seconds since 1970 by the clock of who did it; only to be read by people."""


Removals = Mapping[str, Removal]
"""By uid."""


def removals_to_json(removals: Removals) -> list[dict[str, Any]]:
    return [asdict(removals[uid]) for uid in sorted(removals)]


def removals_from_json(content: Iterable[Mapping[str, Any]]) -> dict[str, Removal]:
    """Read tombstones back.

    Raises:
        KeyError, TypeError, ValueError: they are none.
    """
    read = [Removal(str(each["uid"]), str(each["reason"]), float(each["removed_at"])) for each in content]
    return {removal.uid: removal for removal in read}
