"""Captions, prompts and the tokens of both: whole words of a closed list."""

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

from captions.tiny.vocabulary import COLOURS, VIEW_PHRASES

CONTEXT: Final = 12
"""Tokens of a text, padded."""
TEMPLATES: Final = ("a {noun}", "a photo of a {noun}", "a picture of a {noun}", "one {noun}")
"""Of captions, and of the prompts whose features are averaged into a class."""
PADDING, START = 0, 1


def write_caption(noun: str, template: int, *, colour: int, phrase: int | None) -> str:
    """Write what a captioner might: `a photo of a red chair seen from behind`.

    Args:
        template: index in `TEMPLATES`.
        colour: index in `COLOURS`; negative for none.
        phrase: index in `VIEW_PHRASES`.
    """
    words = noun if colour < 0 else f"{COLOURS[colour]} {noun}"
    text = TEMPLATES[template].format(noun=words)
    return text if phrase is None else f"{text} seen {VIEW_PHRASES[phrase]}"


class Tokenizer:
    """Numbers the words; the last number ends a text, where open_clip's pooling looks for the highest."""

    def __init__(self, nouns: Iterable[str]) -> None:
        texts = [*nouns, *COLOURS, *VIEW_PHRASES, *TEMPLATES, "seen"]
        words = sorted({word for text in texts for word in text.replace("{noun}", "").split()})
        self._number = {word: number for number, word in enumerate(words, start=START + 1)}
        self.end = START + 1 + len(words)

    @property
    def size(self) -> int:
        return self.end + 1

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return (N, CONTEXT) int64.

        Raises:
            KeyError: a word is not in the list.
        """
        tokens = torch.full((len(texts), CONTEXT), PADDING)
        for row, text in enumerate(texts):
            words = text.split()[: CONTEXT - 2]
            numbers = [START, *(self._number[word] for word in words), self.end]
            tokens[row, : len(numbers)] = torch.tensor(numbers)
        return tokens
