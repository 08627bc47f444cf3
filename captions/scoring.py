"""Score captions by their pictures with a second model, where it is asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

from PIL import Image

from captions.captioner import Json
from captions.stage import decode_image
from mvcap.records import CaptionedView, Rejected


class Scorer(Protocol):
    """A loaded model that tells how well captions fit their pictures."""

    @property
    def identity(self) -> Mapping[str, Json]:
        """Everything that the scores depend on, as JSON without machine paths."""
        ...

    def score(self, images: Sequence[Image.Image], captions: Sequence[str]) -> list[float]:
        """Return the score of each RGB picture with its own caption, in order."""
        ...

    def close(self) -> None:
        """Free the model's memory; the scorer cannot be used afterwards."""
        ...


def score_captions(
    records: Iterable[CaptionedView | Rejected], scorer: Scorer, *, batch_size: int
) -> Iterator[CaptionedView | Rejected]:
    """Put a score on every captioned view; pass the rejected ones on, all in order.

    Pictures are decoded a second time here: a captioner has seen and let go of them.
    """
    remaining = iter(records)
    while batch := list(islice(remaining, batch_size)):
        captioned = [record for record in batch if isinstance(record, CaptionedView)]
        pictures = [decode_image(record.view.image, record.view.background) for record in captioned]
        scores = iter(scorer.score(pictures, [record.caption for record in captioned]) if captioned else [])
        for record in batch:
            yield replace(record, clip_score=next(scores)) if isinstance(record, CaptionedView) else record
