"""What the words of a caption show: each defect on its own, and none where a person sees none."""

from pathlib import Path

import pytest

from captions.prompts import UNGUIDED_PROMPT, category_prompt
from captions.quality import ARTEFACT, CUT, ECHO, REPEATS, TOO_SHORT, assess_caption
from captions.vocabulary import build_vocabulary
from mvcap.config import PAPER_PROMPT
from mvcap.records import CaptionQuality

CATEGORIES = ("chair", "armchair", "coffee_table", "table", "light bulb in the image")
VOCABULARY = build_vocabulary(CATEGORIES, "table", Path("/nowhere"))


def assess(caption: str, category: str = "chair", template: str = PAPER_PROMPT) -> CaptionQuality:
    prompt = category_prompt(template, category)
    return assess_caption(caption, prompt=prompt, category=category, vocabulary=VOCABULARY)


@pytest.mark.parametrize(
    "caption",
    [
        "a red chair seen from above, from the front",
        "A small chair with a long back and four thin legs.",
        "a chair that has a backrest and a seat that has a cushion",
        "the main instance is a chair",
        "a chair and a table on a white floor",
        "a 3 legged chair in black and white",
    ],
)
def test_a_sound_caption_has_no_flag(caption: str):
    assert assess(caption).flags == ()


@pytest.mark.parametrize(
    ("caption", "flag"),
    [
        ("noting that the main instance of the image is a chair", ECHO),
        ("Write a short description for the image", ECHO),
        ("a red chair with a", CUT),
        ("a red chair, seen from above,", CUT),
        ("a red chair (", CUT),
        ("a chair", TOO_SHORT),
        ("chair?!", TOO_SHORT),
        ("a chair chair in red", REPEATS),
        ("a red chair of red chair of wood", REPEATS),
        ("a chair with legs, and a chair with legs", REPEATS),
        ("a red chair on a white background", ARTEFACT),
        ("a chair, grey coloured background", ARTEFACT),
        ("3D model of a chair", ARTEFACT),
        ("a 3-d rendering of a chair", ARTEFACT),
        ("a low-poly chair in red", ARTEFACT),
    ],
)
def test_each_defect_is_flagged_and_nothing_else(caption: str, flag: str):
    assert assess(caption).flags == (flag,)


def test_flags_are_sorted_and_all_are_named():
    assert assess("a a with a").flags == (CUT, REPEATS)
    assert assess("3d model of").flags == (CUT, ARTEFACT)


def test_a_long_category_is_no_echo_of_the_prompt_that_named_it():
    category = "light bulb in the image"
    caption = "a yellow light bulb in the image of a room"
    assert assess(caption, category).flags == ()
    assert assess(f"noting that the main instance of {category}", category).flags == (ECHO,)


def test_an_unguided_prompt_is_echoed_too():
    assert assess("a short description of the image", template=UNGUIDED_PROMPT).flags == ()
    assert assess("a short description for the image of it", template=UNGUIDED_PROMPT).flags == (ECHO,)


def test_another_category_counts_only_where_the_own_one_is_not_named():
    assert assess("a chair beside a table").other_category is None
    beside = assess("a coffee table beside a lamp")
    assert (beside.category_match, beside.other_category) == (None, "coffee_table")
    assert assess("a brown dog here").other_category is None


def test_only_the_other_category_is_told_in_the_words_of_the_dataset():
    assert assess("two coffee tables stand here").other_category == "coffee_table"
    assert assess("two armchairs stand here", "table").other_category == "armchair"
