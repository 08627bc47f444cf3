"""Keep a text model from looping, without forbidding it the words that it was asked with."""

from typing import Any

import torch
from transformers import LogitsProcessor, NoRepeatNGramLogitsProcessor


class NoRepeatInContinuation(LogitsProcessor):
    """Forbids a run of `size` tokens to return within what one call of `generate` writes.

    `no_repeat_ngram_size` counts the prompt of a decoder-only model too, and a caption could not repeat a
    category's name from it. One object serves one call, whose first step tells where the prompt ends.
    """

    def __init__(self, size: int) -> None:
        self._forbid: Any = NoRepeatNGramLogitsProcessor(size)
        self._prompt_tokens: int | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Take the (B, T) tokens so far and the next one's (B, vocabulary) scores."""
        if self._prompt_tokens is None:
            self._prompt_tokens = input_ids.shape[1]
        allowed: torch.FloatTensor = self._forbid(input_ids[:, self._prompt_tokens :], scores)
        return allowed
