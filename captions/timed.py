"""How long a captioner works, so that a run can say how long its device waited."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from PIL import Image

from captions.captioner import Captioner, Json, NoCaption, Picture


class TimedCaptioner:
    """A captioner that adds up the time it spends on captions: all else is time the device waits."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self.busy_s = 0.0

    @property
    def identity(self) -> Mapping[str, Json]:
        return self._captioner.identity

    def prepare(self, image: Image.Image) -> Picture:
        return self._captioner.prepare(image)

    def caption(self, images: Sequence[Picture], prompts: Sequence[str]) -> Sequence[str | NoCaption]:
        with self._timed():
            return self._captioner.caption(images, prompts)

    def caption_again(
        self, images: Sequence[Picture], prompts: Sequence[str]
    ) -> Sequence[str | NoCaption] | None:
        with self._timed():
            return self._captioner.caption_again(images, prompts)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.busy_s += time.monotonic() - begun

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
