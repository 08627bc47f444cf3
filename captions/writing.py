"""Write the captions of one batch: judge each, ask once more where one went wrong, keep the better."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from PIL import Image

from captions.quality import WORTH_A_RETRY, assess_caption
from captions.vocabulary import Vocabulary
from mvcap.errors import EMPTY_CAPTION
from mvcap.records import CaptionedView, CaptionQuality, Rejected, View

STAGE: Final = "caption"
Write: TypeAlias = Callable[[Sequence[Image.Image], Sequence[str]], list[str] | None]


class Writer(Protocol):
    """What is needed of a captioner here: see `captions.stage.Captioner`."""

    def caption(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]: ...

    def caption_again(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str] | None: ...


@dataclass(frozen=True, slots=True)
class Task:
    """A view to caption, its decoded RGB picture and its prompt."""

    view: View
    picture: Image.Image
    prompt: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A caption as written, stripped; `quality` is None where it is empty or nobody judges."""

    caption: str
    quality: CaptionQuality | None

    @property
    def defects(self) -> int:
        return len(WORTH_A_RETRY.intersection(self.quality.flags)) if self.quality else 0

    @property
    def badness(self) -> tuple[bool, int, bool]:
        unnamed = self.quality is not None and self.quality.category_match is None
        return not self.caption, self.defects, unnamed


def write_captions(
    tasks: Sequence[Task], captioner: Writer, vocabulary: Vocabulary | None
) -> list[CaptionedView | Rejected]:
    """Caption a batch; an empty one costs no call.

    A caption that is empty or has a defect of decoding is written a second time, where the captioner can,
    and the better one is kept, the first where both are equal. Only what is empty twice is rejected.

    Args:
        vocabulary: judges the captions; None leaves them unjudged, and asks again for empty ones only.
    """
    first = _attempts(tasks, captioner.caption, vocabulary)
    assert first is not None, "every captioner has a first decoding"
    flawed = [index for index, attempt in enumerate(first) if not attempt.caption or attempt.defects]
    second = _attempts([tasks[index] for index in flawed], captioner.caption_again, vocabulary)
    retried = {} if second is None else dict(zip(flawed, second, strict=True))
    records = []
    for index, (task, attempt) in enumerate(zip(tasks, first, strict=True)):
        better = min(attempt, retried.get(index, attempt), key=lambda one: one.badness)
        records.append(_record(task, better, index in retried))
    return records


def _attempts(tasks: Sequence[Task], write: Write, vocabulary: Vocabulary | None) -> list[_Attempt] | None:
    """Write and judge a caption for each task; None where the captioner has no such decoding."""
    if not tasks:
        return []
    captions = write([task.picture for task in tasks], [task.prompt for task in tasks])
    if captions is None:
        return None
    assert len(captions) == len(tasks), f"{len(captions)} captions for {len(tasks)} pictures"
    return [
        _Attempt(text, _assess(text, task, vocabulary))
        for task, text in zip(tasks, map(str.strip, captions), strict=True)
    ]


def _assess(caption: str, task: Task, vocabulary: Vocabulary | None) -> CaptionQuality | None:
    if not caption or vocabulary is None:
        return None
    category = task.view.object.category
    return assess_caption(caption, prompt=task.prompt, category=category, vocabulary=vocabulary)


def _record(task: Task, attempt: _Attempt, retried: bool) -> CaptionedView | Rejected:
    if attempt.caption:
        return CaptionedView(task.view, attempt.caption, task.prompt, attempt.quality, retried)
    message = f"the captioner wrote nothing for {task.prompt!r}"
    attempts = 2 if retried else 1
    return Rejected(task.view.object.uid, STAGE, EMPTY_CAPTION, message, task.view.view_index, attempts)
