"""No model at all: the prompt itself is the caption, such as `a photo of a {category}.`

For the clean half of training, whose labels are right and whose pictures show one thing: ImageNet is mostly
captioned so. Set `captions.prompt` to the sentence; the article before a vowel is put right.
"""

import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from PIL import Image
from pydantic import BaseModel, ConfigDict

from captions.captioner import Captioner, Json

ARTICLE: Final = re.compile(r"\b([Aa]) (?=[aeiouAEIOU])(?!(?:uni|one|eu|use)[a-z]|[A-Z]\b)")
"""An `a` that English wants as `an`; a unicycle, a European and a UV lamp are none."""


class Options(BaseModel):
    """Options of the `template` captioner: the sentence is `captions.prompt`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def check(options: Options) -> None:
    """Pass: there is no model to find."""


def create(options: Options) -> Captioner:
    """Return the captioner; nothing is loaded."""
    return TemplateCaptioner()


class TemplateCaptioner:
    """Writes the prompts, and looks at no picture."""

    @property
    def identity(self) -> Mapping[str, Json]:
        return {"backend": "template", "model": "none"}

    def prepare(self, image: Image.Image) -> Image.Image:
        """Leave a picture as it is."""
        return image

    def caption(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> list[str]:
        return [ARTICLE.sub(r"\1n ", prompt) for prompt in prompts]

    def caption_again(self, images: Sequence[Image.Image], prompts: Sequence[str]) -> None:
        """Return None: a sentence that is wrong stays wrong."""

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
