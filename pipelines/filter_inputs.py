"""What the filter compares: embeddings, category vectors and own names, as the configuration names them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captions.vocabulary import build_vocabulary, words_of
from mvcap import files
from mvcap.categories import has_word, prompt_names, with_meaning
from mvcap.config import Config, FilterConfig, producing_settings
from mvcap.embeddings import openshape
from mvcap.embeddings.encoder import Encoder, category_vectors, imagenet_labels
from mvcap.embeddings.vectors import CategoryVectors, read_lines, read_vectors
from mvcap.errors import EmbeddingsError
from mvcap.sources import objaverse


@dataclass(frozen=True, slots=True)
class Categories:
    """A list of categories, cleaned."""

    names: tuple[str, ...] | None
    """As a prompt says them, no two the same; None where the file of vectors brings its own."""
    meanings: tuple[str, ...] = ()
    """Of each name the words that its vector is made of, which tell two meanings of a word apart."""
    repeated: int = 0
    """Labels that stand for a category that the list names already."""


def find_categories(config: Config, section: FilterConfig) -> Categories:
    """Read and clean the list of categories.

    Raises:
        MvcapError: it cannot be had.
    """
    if section.categories is None and section.category_vectors is not None:
        return Categories(None)
    if section.categories in (None, "lvis"):
        labels = objaverse.lvis_labels(objaverse_options(config))
    elif section.categories == "imagenet":
        labels = imagenet_labels()
    else:
        labels = read_lines(Path(str(section.categories)))
    label_of = {name: label for label, name in reversed(prompt_names(dict.fromkeys(labels)).items())}
    names = tuple(reversed(label_of))
    if wordless := [name for name in names if not has_word(name)]:
        raise EmbeddingsError(f"the list of categories {section.categories} holds {wordless[0]!r}, no word")
    meanings = tuple(with_meaning(label_of[name]) for name in names)
    return Categories(names, meanings, len(labels) - len(names))


def find_vectors(section: FilterConfig, categories: Categories) -> CategoryVectors:
    """Read the category vectors, or make them.

    Raises:
        MvcapError: they cannot be had, or are not what they must be.
    """
    if section.category_vectors is not None:
        return read_vectors(Path(section.category_vectors).expanduser(), categories.names)
    assert categories.names is not None
    encoder = encoder_of(section)
    return category_vectors(categories.names, encoder, section.templates, meanings=categories.meanings)


def encoder_of(section: FilterConfig) -> Encoder:
    return Encoder(section.model, section.pretrained)


def find_embeddings(section: FilterConfig) -> Path:
    """Return the file of embeddings, fetching the published one where none is named.

    Raises:
        MvcapError: it cannot be had.
    """
    return Path(section.file).expanduser().absolute() if section.file else openshape.fetch_embeddings()


def describe_inputs(section: FilterConfig, categories: Categories) -> dict[str, Any]:
    """Return everything that decides what is selected; files count by their content, not their place.

    Raises:
        EmbeddingsError: a file is missing.
    """
    vectors = section.category_vectors
    inputs: dict[str, Any] = {
        **producing_settings(section),
        "categories": hashlib.sha256(
            "\0".join((*(categories.names or ()), *categories.meanings)).encode()
        ).hexdigest(),
        "vectors": _sha256(Path(vectors)) if vectors else encoder_of(section).identity(),
    }
    if section.embeddings == "openshape":
        published = f"{openshape.DATASET}/{openshape.FILE}"
        inputs["file"] = _sha256(Path(section.file)) if section.file else published
    return inputs


def agreements(
    config: Config, source_ids: Sequence[str], names: Sequence[str], first: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Tell of each object whether its own name, a tag or a category of its source's names its category.

    Plurals and the synonyms of our own table count; an object without an annotation agrees with nothing.

    Args:
        names: C categories.
        first: (N,) the category of each object.

    Raises:
        MvcapError: the annotations cannot be had.
    """
    vocabulary = build_vocabulary(names, "table", Path())
    rows = {source_id: row for row, source_id in enumerate(source_ids)}
    agrees = np.zeros(len(source_ids), bool)
    for uid, texts in objaverse.read_names(objaverse_options(config), source_ids):
        category = names[first[rows[uid]]]
        agrees[rows[uid]] = any(vocabulary.match(category, words_of(text)) for text in texts)
    return agrees


def objaverse_options(config: Config) -> objaverse.Options:
    """Return the options of the configured Objaverse, or its defaults."""
    sections = [section for section in config.sources if section.source == objaverse.SOURCE]
    options = sections[0].options if sections else {}
    return options if isinstance(options, objaverse.Options) else objaverse.Options.model_validate(options)


def _sha256(path: Path) -> str:
    try:
        return files.sha256_of(path.expanduser())
    except OSError as error:
        raise EmbeddingsError(f"cannot read {path}: {error.strerror}") from error
