"""The names that a caption may use for each category of a dataset: itself, its plural, its synonyms.

It is built once, where a run is driven, and handed to every worker: nodes that have other word lists could
otherwise judge the same caption differently, and nobody would see it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from captions import synonyms, wordnet
from captions.prompts import plain_words
from mvcap.errors import UsageError
from mvcap.records import CategoryMatch

if TYPE_CHECKING:
    import inflect

Phrase: TypeAlias = tuple[str, ...]
"""Lower-case words."""
WordList: TypeAlias = Literal["table", "wordnet"]

RANKS: Final[tuple[CategoryMatch, ...]] = ("exact", "plural", "synonym")


class Vocabulary:
    """How captions may name the categories of a dataset; picklable, and the same on every worker.

    Args:
        forms: category, as the dataset writes it -> phrase -> how the phrase names it.
        words: which word lists it was built from, and their versions.
    """

    def __init__(self, forms: Mapping[str, Mapping[Phrase, CategoryMatch]], *, words: str) -> None:
        self.words = words
        self._forms = {category: dict(forms[category]) for category in sorted(forms)}
        self._longest = max((len(phrase) for named in forms.values() for phrase in named), default=0)
        self._categories: dict[Phrase, list[str]] = {}
        for category, named in self._forms.items():
            for phrase in named:
                self._categories.setdefault(phrase, []).append(category)

    @property
    def identity(self) -> dict[str, str | int]:
        """What judged the captions, for the commit record: the hash covers every category and form."""
        digest = hashlib.sha256(repr(sorted(self._forms.items())).encode()).hexdigest()[:16]
        return {"words": self.words, "categories": len(self._forms), "sha256": digest}

    def match(self, category: str, words: Sequence[str]) -> CategoryMatch | None:
        """Tell how words name a category: in the closest way that occurs, or not at all."""
        forms = self._forms.get(category, {})
        found = {forms[phrase] for phrase in self._phrases(words) if phrase in forms}
        return next((rank for rank in RANKS if rank in found), None)

    def first_named(self, words: Sequence[str]) -> str | None:
        """Return the category that words name by the longest phrase, the first of equally long ones."""
        named = [phrase for phrase in self._phrases(words) if phrase in self._categories]
        return self._categories[max(named, key=len)][0] if named else None

    def _phrases(self, words: Sequence[str]) -> Iterator[Phrase]:
        for start in range(len(words)):
            for end in range(start + 1, min(start + self._longest, len(words)) + 1):
                yield tuple(words[start:end])


def words_of(text: str) -> list[str]:
    """Split text into lower-case words; punctuation and hyphens separate them."""
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.lower())


def choose_words(wanted: Literal["auto", WordList], folder: Path) -> WordList:
    """Settle which word lists a dataset's captions are judged by; `auto` takes WordNet where it is.

    Raises:
        UsageError: WordNet is wanted and not in its folder.
    """
    if wanted == "table" or (wanted == "auto" and not wordnet.is_installed(folder)):
        return "table"
    if not wordnet.is_installed(folder):
        raise UsageError(
            f"captions.synonyms=wordnet, but {folder} does not hold {' and '.join(wordnet.FILES)}: "
            "apt-get install wordnet-base, or set captions.synonyms=table"
        )
    return "wordnet"


def name_words(chosen: WordList, folder: Path) -> str:
    """Name the word lists and their versions; our own table is always among them, and comes first."""
    table = f"table {synonyms.VERSION}"
    return f"wordnet {wordnet.version(folder)}, {table}" if chosen == "wordnet" else table


def build_vocabulary(categories: Iterable[str], chosen: WordList, folder: Path) -> Vocabulary:
    """Collect the forms of every category; what our table names, WordNet is not asked about.

    Args:
        folder: where WordNet is; not looked at where the table alone was chosen.
    """
    names = {category: " ".join(words_of(plain_words(category))) for category in sorted(set(categories))}
    numbers = {name: _other_numbers(name) for name in names.values() if name}
    lemmas = {lemma for name, others in numbers.items() for lemma in (name, *others)}
    found = wordnet.find_synonyms(lemmas, folder) if chosen == "wordnet" else {}
    forms = {}
    for category, name in names.items():
        alike = (name, *numbers.get(name, ()))  # a category may be written in the plural
        ours = [other for lemma in alike for other in synonyms.SYNONYMS.get(lemma, ())]
        theirs = [other for lemma in alike for other in found.get(lemma, ())]
        forms[category] = _forms(name, ours or theirs)
    return Vocabulary(forms, words=name_words(chosen, folder))


def _forms(name: str, synonyms_of_it: Iterable[str]) -> dict[Phrase, CategoryMatch]:
    """Map every phrase that names a thing to how it does; the closest way counts."""
    if not name:
        return {}
    ranked: list[tuple[str, CategoryMatch]] = [(name, "exact")]
    ranked += [(form, "plural") for form in _other_numbers(name)]
    for other in synonyms_of_it:
        ranked += [(form, "synonym") for form in (other, *_other_numbers(other))]
    return {tuple(words_of(form)): match for form, match in reversed(ranked)}


@cache
def _engine() -> "inflect.engine":
    import inflect  # takes a second to import, and drivers alone need it

    return inflect.engine()


def _other_numbers(name: str) -> list[str]:
    """Return a noun's plural, and its singular in case it is a plural itself.

    The library takes `bus` for a plural too: the `bu` that comes of it occurs in no caption.
    """
    forms = (_engine().plural_noun(name), _engine().singular_noun(name))
    return [str(form) for form in forms if form and form != name]
