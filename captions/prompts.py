"""The sentence a captioner is asked to continue, with the object's category as guidance."""

import re
from typing import Final

UNGUIDED_PROMPT: Final = "Write a short description for the image."
"""`mvcap.config.PAPER_PROMPT` without the category: the ablation that the official script runs."""

PLACEHOLDER: Final = "{category}"


def category_prompt(template: str, category: str) -> str:
    """Put a category, as plain words, into a prompt.

    The category is text and never a format string: braces in it stay as they are. A template without
    `{category}` is an unguided prompt and is returned unchanged.

    Raises:
        ValueError: the template is malformed, or it is guided and the category has no words.
    """
    if not is_guided(template):
        return template
    words = plain_words(category)
    if not words:
        raise ValueError(f"category={category!r} holds no words to guide the caption with")
    return template.replace(PLACEHOLDER, words)


def is_guided(template: str) -> bool:
    """Tell whether a template takes a category.

    Raises:
        ValueError: it is empty, or holds another placeholder such as a misspelt `{catgory}`, which
            would otherwise caption a whole dataset without guidance.
    """
    if not template.strip():
        raise ValueError("the prompt is empty")
    if unknown := sorted(set(re.findall(r"\{[^{}]*\}", template)) - {PLACEHOLDER}):
        raise ValueError(f"the prompt holds {', '.join(unknown)}; the only placeholder is {PLACEHOLDER}")
    if set("{}") & set(template.replace(PLACEHOLDER, "")):
        raise ValueError(f"the prompt has a brace without its partner; the only placeholder is {PLACEHOLDER}")
    return PLACEHOLDER in template


def plain_words(category: str) -> str:
    """Turn a label such as `coffee_table ` into words: underscores, control characters and runs of
    whitespace become single spaces."""
    printable = (character if character.isprintable() else " " for character in category)
    return " ".join("".join(printable).replace("_", " ").split())
