import pytest

from captions.tiny.architecture import build_processor
from captions.tiny.examples import held_out_uids
from captions.tiny.train import SIZE
from captions.tiny.vocabulary import (
    CAPTION_WORDS,
    CATEGORIES,
    COLOURS,
    FRONTED,
    READ_WORDS,
    UNKNOWN,
    VIEW_PHRASES,
    compose_caption,
    parse_caption,
)
from mvcap.plan import make_uid
from mvcap.sources.sh3f import SOURCE, read_labels


@pytest.mark.parametrize(
    ("parts", "caption"),
    [
        (("chair", "red", "from the front"), "a red chair seen from the front"),
        (("chair", "orange", "from behind"), "an orange chair seen from behind"),
        (("armchair", None, "from the side"), "an armchair seen from the side"),
        (("food", "brown", "from above"), "brown food seen from above"),
    ],
)
def test_caption_is_an_english_sentence(parts: tuple[str, str | None, str], caption: str):
    assert compose_caption(*parts) == caption


def test_every_caption_can_be_taken_apart_again():
    for category in (*CATEGORIES, UNKNOWN):
        for colour in (*COLOURS, None):
            for view in VIEW_PHRASES:
                assert parse_caption(compose_caption(category, colour, view)) == (category, colour, view)


@pytest.mark.parametrize("caption", ["", "chair", "a a a", "seen from above"])
def test_other_text_is_taken_apart_without_a_wrong_find(caption: str):
    category, colour, view = parse_caption(caption)
    assert (category, view) not in {(name, phrase) for name in CATEGORIES for phrase in VIEW_PHRASES}
    assert colour is None


def test_words_survive_the_tokenizer():
    processor = build_processor(CAPTION_WORDS + READ_WORDS, SIZE)
    caption = "a beige chest of drawers seen from behind"
    tokens = processor.tokenizer(caption)["input_ids"]
    assert len(tokens) == len(caption.split()) + 1, "a token for each word, and the end"
    assert processor.tokenizer.decode(tokens, skip_special_tokens=True) == caption


def test_categories_are_those_of_the_labelled_furniture():
    assert set(CATEGORIES) == set(read_labels().values())
    assert len(CATEGORIES) <= 60
    assert set(CATEGORIES) >= FRONTED


def test_held_out_objects_are_those_of_the_demo():
    assert held_out_uids() == {make_uid(SOURCE, source_id) for source_id in read_labels(demo_only=True)}
