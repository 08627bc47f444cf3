"""Names for categories: our table, WordNet where it is, and the same answer from every worker."""

import pickle
from pathlib import Path

import pytest

from captions import synonyms, wordnet
from captions.vocabulary import Vocabulary, build_vocabulary, choose_words, words_of
from mvcap.errors import UsageError

NOWHERE = Path("/nowhere")
needs_wordnet = pytest.mark.skipif(
    not wordnet.is_installed(), reason="WordNet is not installed: apt-get install wordnet-base"
)


def table(*categories: str) -> Vocabulary:
    return build_vocabulary(categories, "table", NOWHERE)


@pytest.mark.parametrize(
    ("category", "caption", "match"),
    [
        ("chair", "a red chair", "exact"),
        ("chair", "two Chairs.", "plural"),
        ("chair", "an armchair", None),
        ("coffee_table", "a coffee-table with four legs", "exact"),
        ("coffee table", "a table with coffee", None),
        ("shelf", "wooden shelves", "plural"),
        ("bus", "two buses", "plural"),
        ("chairs", "a chair", "plural"),
        ("chest of drawers", "two chests of drawers", "plural"),
        ("sofa", "a grey couch and a sofa", "exact"),
        ("sofa", "a grey couch", "synonym"),
        ("sofas", "a grey couch", "synonym"),
        ("trash can", "two garbage cans", "synonym"),
        ("Kéramique", "une kéramique", "exact"),
    ],
)
def test_a_category_is_named_by_itself_its_other_number_or_a_synonym(category, caption, match):
    assert table(category, "bed").match(category, words_of(caption)) == match


def test_a_category_without_words_is_never_named():
    assert table("---", "chair").match("---", words_of("a chair --- there")) is None


def test_the_longest_phrase_says_which_category_is_named():
    vocabulary = table("table", "coffee table", "bed")
    assert vocabulary.first_named(words_of("a bed behind a coffee table")) == "coffee table"
    assert vocabulary.first_named(words_of("a bed behind a table")) == "bed"
    assert vocabulary.first_named(words_of("a duck")) is None
    assert table().first_named(words_of("a duck")) is None


def test_every_name_stands_in_one_group_of_the_table():
    names = [name for group in synonyms.GROUPS for name in group]
    assert len(names) == len(set(names))
    assert names == [" ".join(words_of(name)) for name in names], "captions are compared as plain words"


def test_neither_the_order_of_the_categories_nor_pickling_changes_a_vocabulary():
    first, second = table("sofa", "bed", "sofa"), table("bed", "sofa")
    assert first.identity == second.identity == pickle.loads(pickle.dumps(first)).identity  # noqa: S301
    assert pickle.loads(pickle.dumps(first)).match("bed", ["beds"]) == "plural"  # noqa: S301


def test_a_vocabulary_of_other_categories_has_another_identity():
    assert table("sofa").identity != table("bed").identity


def write_wordnet(folder: Path) -> Path:
    """Write a WordNet of one noun: the act (04) of a visit, then a thing (06), then a rarer thing."""
    data = "  1 The licence.  \n"
    places = []
    for synset in (
        "{:08d} 04 n 02 divan 0 audience 0 000 | no thing  \n",
        "{:08d} 06 n 03 divan 0 Daybed 0 sofa_bed 1 001 @ 04161981 n 0000 | furniture  \n",
        "{:08d} 06 n 02 divan 1 council_chamber 0 000 | a room  \n",
    ):
        places.append(len(data))
        data += synset.format(len(data))
    (folder / "data.noun").write_text(data)
    offsets = " ".join(f"{place:08d}" for place in places)
    index = f"  1 The licence.  \ndivan n 3 1 @ 3 2 {offsets}  \nsofa n 1 0 1 0 {places[1]:08d}  \n"
    (folder / "index.noun").write_text(index)
    return folder


def test_synonyms_are_read_as_wndb_describes_from_the_commonest_sense_that_is_a_thing(tmp_path: Path):
    found = wordnet.find_synonyms(["divan", "duck"], write_wordnet(tmp_path))
    assert found == {"divan": ["daybed", "sofa bed"], "duck": []}


def test_what_our_table_names_wordnet_is_not_asked_about(tmp_path: Path):
    vocabulary = build_vocabulary(["sofa", "divans"], "wordnet", write_wordnet(tmp_path))
    assert vocabulary.match("sofa", ["couch"]) == "synonym"
    assert vocabulary.match("sofa", ["daybed"]) is None
    assert vocabulary.match("divans", ["daybed"]) == "synonym"


def test_which_word_lists_judged_is_named_with_their_versions(tmp_path: Path):
    folder = write_wordnet(tmp_path)
    assert choose_words("auto", NOWHERE) == choose_words("table", folder) == "table"
    assert choose_words("auto", folder) == choose_words("wordnet", folder) == "wordnet"
    with_wordnet = build_vocabulary(["divan"], "wordnet", folder)
    assert with_wordnet.identity["words"] == f"wordnet {wordnet.version(folder)}, table {synonyms.VERSION}"
    assert table("divan").match("divan", ["daybed"]) is None
    assert table("divan").identity["words"] == f"table {synonyms.VERSION}"
    with (folder / "index.noun").open("a") as index:
        index.write("  another edition\n")
    assert build_vocabulary(["divan"], "wordnet", folder).identity != with_wordnet.identity


def test_wanting_a_wordnet_that_is_missing_names_the_package_and_the_way_out():
    with pytest.raises(UsageError, match=r"apt-get install wordnet-base, or set captions.synonyms=table"):
        choose_words("wordnet", NOWHERE)


@needs_wordnet
def test_the_installed_wordnet_knows_things_and_not_their_homonyms():
    found = wordnet.find_synonyms(["car", "chair", "table", "bed", "trash can", "potted plant"])
    assert {"auto", "automobile"} <= set(found["car"])
    assert "chairman" not in found["chair"], "a person is no seat"
    assert "tabular array" not in found["table"]
    assert "layer" not in found["bed"]
    assert {"garbage can", "dustbin"} <= set(found["trash can"])
    assert found["potted plant"] == []
