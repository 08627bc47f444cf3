"""Names of categories as a prompt says them."""

from mvcap.categories import has_word, prompt_names


def test_underscores_and_meanings_in_parentheses_go():
    names = prompt_names(["Ferris_wheel", "crab_(animal)", " kite (bird of  prey) "])
    assert list(names.values()) == ["Ferris wheel", "crab", "kite"]


def test_a_meaning_stays_where_two_labels_would_be_one():
    names = prompt_names(["bow_(weapon)", "bow_(decorative_ribbons)", "bowl"])
    assert list(names.values()) == ["bow (weapon)", "bow (decorative ribbons)", "bowl"]


def test_a_label_that_is_all_parentheses_is_kept():
    assert prompt_names(["(thing)"]) == {"(thing)": "(thing)"}


def test_a_word_has_a_letter_or_a_digit_of_any_script():
    assert [has_word(name) for name in ("chair", "\u0441", "7", "_", "?!", "")] == [
        True,
        True,
        True,
        *[False] * 3,
    ]
