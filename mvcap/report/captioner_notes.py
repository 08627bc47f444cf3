"""What a reader of captions has to know of who wrote them, where that was no real model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class CaptionerNote:
    """Two parts of what is said."""

    origin: str
    """A sentence: who wrote the captions."""
    worth: str
    """What they are worth."""


UNTRAINED: Final = CaptionerNote(
    "The captions come from an untrained model.",
    "They are random words that show the pipeline at work.",
)
TOY: Final = CaptionerNote(
    "The captions come from a toy.",
    "The small model that ships with mvcap repeats the prompt's category if that is one it was trained on, "
    "and writes `object` if not; it adds a colour and a point of view, is right about these as often as its "
    "own card says, and knows nothing else.",
)
FAKE: Final = CaptionerNote(
    "No model wrote the captions.",
    "The captioner is a fake, for trying things out: it names a picture's mean colour and repeats the "
    "prompt's category.",
)
TEMPLATE: Final = CaptionerNote(
    "No model wrote the captions.",
    "Each is its prompt with the category filled in, whatever the picture shows.",
)


def note_on(made_by: Mapping[str, Any]) -> CaptionerNote | None:
    """Look at what a commit recorded of its captioner; None for a real model, and where there is none."""
    if made_by.get("untrained"):
        return UNTRAINED
    if made_by.get("toy"):
        return TOY
    return {"fake": FAKE, "template": TEMPLATE}.get(str(made_by.get("backend")))
