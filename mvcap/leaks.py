"""What was done so that nothing of the evaluation is learnt: kept beside the plan, told by the card."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Leaks:
    """What the plan keeps out of training."""

    evaluation: tuple[str, ...] = ()
    """uids of all objects that were ever held out, sorted; those left out of the dataset included."""
    left_out: tuple[str, ...] = ()
    """Those of the sources' objects that are in no split, sorted; with their twins."""
    entries: int = 0
    """Of the present list of evaluation objects."""
    unknown: tuple[str, ...] = ()
    """Entries that name none of the sources' objects."""
    twins: Mapping[str, str] = field(default_factory=dict)
    """The sha256 of each object's asset that another object has as well, by uid."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"twins": dict(self.twins)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Leaks":
        """Read the record back.

        Raises:
            KeyError, TypeError: it is none.
        """
        return cls(
            evaluation=tuple(content["evaluation"]),
            left_out=tuple(content["left_out"]),
            entries=int(content["entries"]),
            unknown=tuple(content["unknown"]),
            twins=dict(content["twins"]),
        )
