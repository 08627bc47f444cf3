"""A caption that went wrong is written once more, the better one is kept, and the record says so."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

import pytest
from PIL import Image

from captions.captioner import NoCaption
from captions.scoring import score_captions
from captions.stage import caption_views
from captions.timed import TimedCaptioner, TimedScorer, WorkingTime
from captions.vocabulary import build_vocabulary
from mvcap.errors import EMPTY_CAPTION, ERROR
from mvcap.records import CaptionedView, CaptionQuality, Rejected, View

VOCABULARY = build_vocabulary(["chair", "bed"], "table", Path("/nowhere"))
SOUND, LOOP = "a red chair here", "a red chair a red chair"
REFUSAL = NoCaption(ERROR, "the model refused")


class Unprepared:
    """What a captioner has that takes pictures as they are."""

    def prepare(self, image: Image.Image) -> Image.Image:
        return image


class Dictated(Unprepared):
    """Writes what it was told for each category, first and again; remembers what it was asked."""

    identity = {"backend": "dictated", "model": "none"}  # noqa: RUF012

    def __init__(self, first: dict[str, str | NoCaption], again: dict[str, str | NoCaption]) -> None:
        self._first, self._again = first, again
        self.asked_again: list[str] = []

    def caption(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str | NoCaption]:
        return [self._first[prompt] for prompt in prompts]

    def caption_again(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str | NoCaption]:
        self.asked_again += prompts
        return [self._again[prompt] for prompt in prompts]


class AskedOnce(Unprepared):
    """A captioner without a second decoding."""

    def __init__(self, captions: Sequence[str]) -> None:
        self._captions = captions

    def caption(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        return list(self._captions)

    def caption_again(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> None:
        return None


@pytest.fixture
def views(make_view: Callable[..., View]) -> Callable[..., list[View]]:
    """Views of blank pictures, one for each category."""
    picture = Image.new("RGB", (4, 4))
    return lambda *categories: [
        make_view(picture, category=name, index=index) for index, name in enumerate(categories)
    ]


def write(views, captioner, *, batch_size: int = 8, vocabulary=VOCABULARY) -> list[CaptionedView | Rejected]:
    return list(
        caption_views(
            views, captioner, prompt_template="{category}", batch_size=batch_size, vocabulary=vocabulary
        )
    )


@pytest.mark.parametrize(
    ("first", "again", "kept", "retried"),
    [
        (SOUND, "never asked", SOUND, False),
        (LOOP, SOUND, SOUND, True),
        ("", SOUND, SOUND, True),
        ("a red chair with a", "a red chair with arms", "a red chair with arms", True),
        (LOOP, "a red chair a red chair a", LOOP, True),
        (LOOP, "", LOOP, True),
        (LOOP, "a red dog a red dog", LOOP, True),
        ("a red dog a red dog", LOOP, LOOP, True),
        ("a chair on a white background", "never asked", "a chair on a white background", False),
        ("a red dog here", "never asked", "a red dog here", False),
    ],
    ids=[
        *("sound", "loop", "empty", "cut", "second is worse", "second is empty"),
        *("as bad, first names it", "as bad, second names it", "artefact", "unnamed"),
    ],
)
def test_the_better_of_two_is_kept(views, first: str, again: str, kept: str, retried: bool):
    (record,) = write(views("chair"), Dictated({"chair": first}, {"chair": again}))
    assert (record.caption, record.retried) == (kept, retried)
    assert record.quality is not None


def test_what_is_empty_twice_is_rejected_and_counts_two_attempts(views):
    (record,) = write(views("chair"), Dictated({"chair": ""}, {"chair": " "}))
    assert isinstance(record, Rejected)
    assert (record.reason, record.attempts) == (EMPTY_CAPTION, 2)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_only_the_bad_ones_of_a_batch_are_asked_again_and_the_order_is_kept(views, batch_size: int):
    captioner = Dictated({"chair": SOUND, "bed": LOOP}, {"bed": "a red bed here"})
    records = write(views("bed", "chair", "bed"), captioner, batch_size=batch_size)
    assert [record.caption for record in records] == ["a red bed here", SOUND, "a red bed here"]
    assert [record.retried for record in records] == [True, False, True]
    assert captioner.asked_again == ["bed", "bed"]


def test_a_captioner_without_a_second_decoding_keeps_what_it_wrote(views):
    loop, silent = write(views("chair", "bed"), AskedOnce([LOOP, ""]))
    assert (loop.caption, loop.retried, loop.quality.flags) == (LOOP, False, ("repeats",))
    assert (silent.reason, silent.attempts) == (EMPTY_CAPTION, 1)


def test_the_other_category_is_looked_for_in_the_whole_dataset_and_not_in_the_batch(views):
    (record,) = write(views("chair"), AskedOnce(["two beds in red"]))
    assert record.quality == CaptionQuality(None, "bed", ())


def test_without_a_vocabulary_nothing_is_judged_and_silence_alone_is_asked_again(views):
    captioner = Dictated({"chair": LOOP, "bed": ""}, {"bed": SOUND})
    loop, silent = write(views("chair", "bed"), captioner, vocabulary=None)
    assert (loop.caption, loop.quality, loop.retried) == (LOOP, None, False)
    assert (silent.caption, silent.retried) == (SOUND, True)


def test_a_picture_that_fails_is_rejected_with_its_reason_and_not_asked_again(views):
    captioner = Dictated({"chair": REFUSAL, "bed": LOOP}, {"bed": "a red bed here"})
    failed, bed = write(views("chair", "bed"), captioner)
    assert (failed.reason, failed.message, failed.attempts) == (ERROR, "the model refused", 1)
    assert bed.caption == "a red bed here"
    assert captioner.asked_again == ["bed"], "another decoding does not help against a refusal"


def test_a_second_attempt_that_fails_leaves_the_first_caption_as_it_was(views):
    loop, silent = write(
        views("chair", "bed"), Dictated({"chair": LOOP, "bed": ""}, {"chair": REFUSAL, "bed": REFUSAL})
    )
    assert (loop.caption, loop.retried, loop.quality.flags) == (LOOP, False, ("repeats",))
    assert (silent.reason, silent.attempts) == (EMPTY_CAPTION, 1)


def test_the_second_attempt_gets_the_pictures_as_they_were_prepared(views):
    class Encoding(Dictated):
        def prepare(self, image: Image.Image) -> str:
            return f"{image.width} x {image.height}"

        def caption_again(self, images: Sequence[str], prompts: Sequence[str]) -> list[str]:
            return [f"a red chair of {image}" for image in images]

    (record,) = write(views("chair"), Encoding({"chair": LOOP}, {}))
    assert record.caption == "a red chair of 4 x 4"


def test_time_for_second_captions_and_for_scores_is_time_at_work(views):
    class Scorer:
        identity = {"model": "none"}  # noqa: RUF012

        def score(self, images: Sequence[Image.Image], captions: Sequence[str]) -> list[float]:
            return [0.5] * len(captions)

        def close(self) -> None: ...

    working = WorkingTime(count().__next__)  # each look at the clock is a second later
    sound, loop = (
        TimedCaptioner(Dictated({"chair": first}, {"chair": SOUND}), working) for first in (SOUND, LOOP)
    )
    write(views("chair"), sound)
    assert working.seconds == 1
    written = write(views("chair"), loop)
    assert working.seconds == 3
    (scored,) = score_captions(written, TimedScorer(Scorer(), working), batch_size=1)
    assert (working.seconds, scored.clip_score) == (4, 0.5)
