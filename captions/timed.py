"""How long captioner and scorer work, so that a run can say how long their device waited."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from PIL import Image

from captions.captioner import Captioner, Json, NoCaption, Picture
from captions.scoring import Scorer


class WorkingTime:
    """Adds up the time spent inside its blocks: all else is time the device waits."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.seconds = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        begun = self._clock()
        try:
            yield
        finally:
            self.seconds += self._clock() - begun


class TimedCaptioner:
    """A captioner whose time for captions, first and second, is counted."""

    def __init__(self, captioner: Captioner, working: WorkingTime) -> None:
        self._captioner = captioner
        self._working = working

    @property
    def identity(self) -> Mapping[str, Json]:
        return self._captioner.identity

    def prepare(self, image: Image.Image) -> Picture:
        return self._captioner.prepare(image)

    def caption(self, images: Sequence[Picture], prompts: Sequence[str]) -> Sequence[str | NoCaption]:
        with self._working.counted():
            return self._captioner.caption(images, prompts)

    def caption_again(
        self, images: Sequence[Picture], prompts: Sequence[str]
    ) -> Sequence[str | NoCaption] | None:
        with self._working.counted():
            return self._captioner.caption_again(images, prompts)

    def close(self) -> None:
        self._captioner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class TimedScorer:
    """A scorer whose time for scores is counted."""

    def __init__(self, scorer: Scorer, working: WorkingTime) -> None:
        self._scorer = scorer
        self._working = working

    @property
    def identity(self) -> Mapping[str, Json]:
        return self._scorer.identity

    def score(self, images: Sequence[Image.Image], captions: Sequence[str]) -> list[float]:
        with self._working.counted():
            return self._scorer.score(images, captions)

    def close(self) -> None:
        self._scorer.close()
