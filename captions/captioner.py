"""What every captioner is to the rest of the package: the contract of `captions/backends/`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

from PIL import Image

from mvcap.errors import Reason

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

Picture: TypeAlias = Any
"""An RGB `PIL.Image.Image`, or what a captioner's `prepare` made of it."""


@dataclass(frozen=True, slots=True)
class NoCaption:
    """Stands for the caption of a picture that a captioner could not caption, though it works otherwise."""

    reason: Reason
    message: str


class Captioner(Protocol):
    """A loaded model that writes one caption for each picture; closed by `with` or `close()`."""

    @property
    def identity(self) -> Mapping[str, Json]:
        """Everything but picture and prompt that the captions depend on, as JSON without machine paths."""
        ...

    def prepare(self, image: Image.Image) -> Picture:
        """Do to an RGB picture what needs no device; called ahead of `caption`, from several threads."""
        ...

    def caption(self, images: Sequence[Picture], prompts: Sequence[str]) -> Sequence[str | NoCaption]:
        """Write the captions of RGB pictures, prepared or not, in order; `prompts` is as long."""
        ...

    def caption_again(
        self, images: Sequence[Picture], prompts: Sequence[str]
    ) -> Sequence[str | NoCaption] | None:
        """Write captions as `caption` does, but with a decoding that avoids loops, cuts and silence.

        None where the captioner has no other decoding.
        """
        ...

    def close(self) -> None:
        """Free the model's memory; the captioner cannot be used afterwards."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
