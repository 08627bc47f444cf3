import pytest

from captions.prompts import UNGUIDED_PROMPT, category_prompt, is_guided
from mvcap.config import PAPER_PROMPT


def test_paper_prompt_reads_as_in_the_paper():
    assert category_prompt(PAPER_PROMPT, "chair") == (
        "Write a short description for the image, noting that the main instance of the image is a chair."
    )


def test_unguided_prompt_is_the_start_of_the_paper_prompt_and_ignores_the_category():
    assert PAPER_PROMPT.startswith(UNGUIDED_PROMPT.removesuffix("."))
    assert (
        category_prompt(UNGUIDED_PROMPT, "chair") == category_prompt(UNGUIDED_PROMPT, "") == UNGUIDED_PROMPT
    )
    assert is_guided(PAPER_PROMPT)
    assert not is_guided(UNGUIDED_PROMPT)


@pytest.mark.parametrize(
    ("category", "words"),
    [
        ("coffee_table", "coffee table"),
        ("  coffee \t table\r\n", "coffee table"),
        ("bread-bin", "bread-bin"),
        ("café\x00chair\u200b", "café chair"),
        ("__Wahser__", "Wahser"),
    ],
)
def test_category_becomes_plain_words(category: str, words: str):
    assert category_prompt("a {category}.", category) == f"a {words}."


@pytest.mark.parametrize("category", ["{category}", "{0.__class__}", "{", "}}{{", "%s", "\\1"])
def test_braces_in_a_category_stay_text(category: str):
    shown = category.replace("__class__", "  class  ").replace("_", " ")
    assert category_prompt("a {category}.", category) == f"a {' '.join(shown.split())}."


@pytest.mark.parametrize("template", ["a {catgory}", "a {}", "a {category!r}", "a {category} {name}"])
def test_template_with_another_placeholder_is_refused(template: str):
    with pytest.raises(ValueError, match="the only placeholder is"):
        category_prompt(template, "chair")


def test_nothing_to_say_is_refused():
    with pytest.raises(ValueError, match="prompt is empty"):
        category_prompt("  ", "chair")
    with pytest.raises(ValueError, match="no words"):
        category_prompt(PAPER_PROMPT, "_ \n")
