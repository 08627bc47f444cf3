"""Write the captions of one batch: judge each, ask once more where one went wrong, keep the better."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from captions.captioner import Captioner, NoCaption, Picture
from captions.quality import WORTH_A_RETRY, assess_caption
from captions.vocabulary import Vocabulary
from mvcap.errors import EMPTY_CAPTION
from mvcap.records import CaptionedView, CaptionQuality, Rejected, View

STAGE: Final = "caption"
Write: TypeAlias = Callable[[Sequence[Picture], Sequence[str]], Sequence[str | NoCaption] | None]


@dataclass(frozen=True, slots=True)
class Task:
    """A view to caption, its RGB picture as the captioner prepared it, and its prompt."""

    view: View
    picture: Picture
    prompt: str


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A caption as written, stripped; `quality` is None where it is empty or nobody judges."""

    caption: str
    quality: CaptionQuality | None = None
    failure: NoCaption | None = None
    """What the captioner gave instead of a caption, which is empty then."""

    @property
    def defects(self) -> int:
        return len(WORTH_A_RETRY.intersection(self.quality.flags)) if self.quality else 0

    @property
    def flawed(self) -> bool:
        """Whether another decoding may help; a failure, such as a refusal, is none of the decoding's."""
        return self.failure is None and (not self.caption or self.defects > 0)

    @property
    def badness(self) -> tuple[bool, int, bool]:
        unnamed = self.quality is not None and self.quality.category_match is None
        return not self.caption, self.defects, unnamed


def write_captions(
    tasks: Sequence[Task], captioner: Captioner, vocabulary: Vocabulary | None
) -> list[CaptionedView | Rejected]:
    """Caption a batch; an empty one costs no call.

    A caption that is empty or has a defect of decoding is written a second time, where the captioner can,
    and the better one is kept, the first where both are equal. Rejected is what stays empty, or what the
    captioner failed at in the first place; a second attempt that fails counts for nothing.

    Args:
        vocabulary: judges the captions; None leaves them unjudged, and asks again for empty ones only.
    """
    first = _attempts(tasks, captioner.caption, vocabulary)
    assert first is not None, "every captioner has a first decoding"
    flawed = [index for index, attempt in enumerate(first) if attempt.flawed]
    second = _attempts([tasks[index] for index in flawed], captioner.caption_again, vocabulary)
    answers = zip(flawed, second, strict=True) if second else ()
    retried = {index: attempt for index, attempt in answers if attempt.failure is None}
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
    return [_judge(caption, task, vocabulary) for task, caption in zip(tasks, captions, strict=True)]


def _judge(caption: str | NoCaption, task: Task, vocabulary: Vocabulary | None) -> _Attempt:
    if isinstance(caption, NoCaption):
        return _Attempt("", failure=caption)
    text = caption.strip()
    if not text or vocabulary is None:
        return _Attempt(text)
    category = task.view.object.category
    return _Attempt(text, assess_caption(text, prompt=task.prompt, category=category, vocabulary=vocabulary))


def _record(task: Task, attempt: _Attempt, retried: bool) -> CaptionedView | Rejected:
    if attempt.caption:
        return CaptionedView(task.view, attempt.caption, task.prompt, attempt.quality, retried)
    silence = NoCaption(EMPTY_CAPTION, f"the captioner wrote nothing for {task.prompt!r}")
    why, attempts = attempt.failure or silence, 2 if retried else 1
    return Rejected(task.view.object.uid, STAGE, why.reason, why.message, task.view.view_index, attempts)
