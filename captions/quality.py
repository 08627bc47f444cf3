"""Judge a caption by its words: which category it names, and which defects it shows.

Nothing here drops a caption. What is found becomes columns, and some defects are worth a second attempt.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from captions.prompts import plain_words
from captions.vocabulary import Vocabulary, words_of
from mvcap.records import CaptionQuality

ECHO: Final = "echoes_prompt"
CUT: Final = "cut"
TOO_SHORT: Final = "too_short"
REPEATS: Final = "repeats"
ARTEFACT: Final = "render_artefact"

WORTH_A_RETRY: Final = frozenset({ECHO, CUT, TOO_SHORT, REPEATS})
"""Defects of decoding. A render artefact is what the picture shows, and another decoding finds it too."""

ECHO_WORDS: Final = 5
"""A run of so many words of the prompt is an echo; `the main instance of the` is one, `of the image` none."""
FEWEST_WORDS: Final = 3
"""`a chair` says nothing that the category does not."""
NGRAM: Final = 4
"""Words that make a repetition when they return anywhere; fewer only when they return at once: people too
write `a seat that has a cushion and a back that has a hole`."""

UNFINISHED: Final = frozenset(
    (
        *("a", "an", "the", "this", "that", "its", "his", "her", "their", "very", "which", "who"),
        *("of", "with", "without", "in", "on", "at", "by", "for", "from"),
        *("to", "into", "onto", "over", "under"),
        *("and", "or", "but", "as", "is", "are", "has", "have"),
    )
)
"""No English caption ends with one of these unless it was cut."""

ARTEFACTS: Final = re.compile(
    r"\b(?:(?:white|black|gr[ae]y|plain|blank|empty|transparent|solid)\s+(?:colou?red\s+)?background"
    r"|(?:3|three)[\s-]?d(?:imensional)?\s+(?:model|object|render(?:ing|ed)?|illustration|image)s?"
    r"|(?:computer|cg)[\s-]generated|cgi|low[\s-]poly|wireframe|polygon(?:al)?\s+mesh"
    r"|render(?:ing)?s?\s+of|rendered)\b",
    re.IGNORECASE,
)
"""What captioners say of renders and not of the thing in them."""


def assess_caption(caption: str, *, prompt: str, category: str, vocabulary: Vocabulary) -> CaptionQuality:
    """Judge one caption; a pure function, so that batch, worker and order cannot matter.

    Args:
        prompt: what the captioner was asked, the category included.
        category: as the dataset writes it.
        vocabulary: of all the dataset's categories.
    """
    words = words_of(caption)
    match = vocabulary.match(category, words)
    other = None if match else vocabulary.first_named(words)
    return CaptionQuality(match, other, tuple(sorted(_defects(caption, words, prompt, category))))


def _defects(caption: str, words: Sequence[str], prompt: str, category: str) -> Iterator[str]:
    if _echoes(words, words_of(prompt), words_of(plain_words(category))):
        yield ECHO
    if (words and words[-1] in UNFINISHED) or caption.rstrip().endswith((",", "-", ":", ";", "(")):
        yield CUT
    if len(words) < FEWEST_WORDS:
        yield TOO_SHORT
    if _repeats(words):
        yield REPEATS
    if ARTEFACTS.search(caption):
        yield ARTEFACT


def _echoes(words: Sequence[str], prompt: Sequence[str], category: Sequence[str]) -> bool:
    """Tell whether a run of the prompt's own words stands in the caption; the category is not its own."""
    asked = {run for part in _split_at(prompt, category) for run in _ngrams(part, ECHO_WORDS)}
    return any(run in asked for run in _ngrams(words, ECHO_WORDS))


def _split_at(words: Sequence[str], separator: Sequence[str]) -> list[list[str]]:
    """Split words wherever the separator's words stand."""
    parts: list[list[str]] = [[]]
    position = 0
    while position < len(words):
        if separator and list(words[position : position + len(separator)]) == list(separator):
            parts.append([])
            position += len(separator)
        else:
            parts[-1].append(words[position])
            position += 1
    return parts


def _repeats(words: Sequence[str]) -> bool:
    """Tell whether words loop: up to three that return at once, or four that return anywhere."""
    at_once = any(
        words[start : start + size] == words[start + size : start + 2 * size]
        for size in range(1, NGRAM)
        for start in range(len(words) - 2 * size + 1)
    )
    return at_once or any(count > 1 for count in Counter(_ngrams(words, NGRAM)).values())


def _ngrams(words: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[start : start + size]) for start in range(len(words) - size + 1))
