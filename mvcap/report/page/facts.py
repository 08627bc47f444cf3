"""What the page tells of a dataset besides its rows; gathered by whoever knows stages and settings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mvcap.records import Rejected
from mvcap.report.captioner_notes import CaptionerNote
from mvcap.report.captions import CaptionFigures, ControlFigures


@dataclass(frozen=True, slots=True)
class StageFacts:
    """How far a stage is, and how fast it was."""

    name: str
    shards: int
    """Committed ones."""
    views: int
    worker_seconds: float

    @property
    def views_per_second(self) -> float | None:
        """For each worker; None where no time was taken."""
        return self.views / self.worker_seconds if self.worker_seconds else None


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that was rejected, with what is known of the object it belongs to."""

    rejected: Rejected
    category: str | None
    source_id: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What plan and commit records tell."""

    name: str
    folder: str
    """As a person would type it after `mvcap render --out`."""
    objects: int
    done: int
    """Objects with at least one row."""
    views: int
    uncaptioned: int
    shards: int
    complete: bool
    stages: Sequence[StageFacts]
    failures: Sequence[Failure]
    settings: Mapping[str, str]
    """What decided the pictures and captions, as the card tells it."""
    captioners: Sequence[str]
    """Who wrote the captions, as the rows name them."""
    captioner_note: CaptionerNote | None
    figures: CaptionFigures | None
    control: ControlFigures | None

    @property
    def reasons(self) -> Counter[str]:
        return Counter(failure.rejected.reason for failure in self.failures)
