"""Which objects are semantically clear: embeddings against category vectors, by rules that can be read.

An object is selected where the similarity to its nearest category and the margin over the second one reach
their thresholds, its own name agrees where that is asked for, its category is not full, and it is among the
`keep` most similar. Pure numpy: who reads the embeddings, and where, does not matter here.

N objects, C categories, D dimensions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Agreement: TypeAlias = Literal["ignored", "required", "waives_margin"]
"""What it counts for that an object's own name or tags name its category."""

Verdict: TypeAlias = Literal[
    "selected",
    "bad_embedding",
    "low_similarity",
    "low_margin",
    "no_agreement",
    "over_limit",
    "beyond_keep",
]
VERDICTS: Final[tuple[Verdict, ...]] = (
    "selected",
    "bad_embedding",
    "low_similarity",
    "low_margin",
    "no_agreement",
    "over_limit",
    "beyond_keep",
)
"""In the order in which they are given; an object gets the first that holds."""

DECIMALS: Final = 5
"""Of similarities: the last bits of a matrix product depend on the chunk and on the machine."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The two nearest categories of each object."""

    first: NDArray[np.int32]
    """(N,) row of the category vectors."""
    second: NDArray[np.int32]
    """(N,) -1 where there is one category only."""
    similarity: NDArray[np.float32]
    """(N,) cosine in [-1, 1] to the first; NaN where the embedding is not one."""
    second_similarity: NDArray[np.float32]
    """(N,) to the second; -1 where there is none."""

    @property
    def margin(self) -> NDArray[np.float32]:
        """(N,) by how much the first category is nearer than the second, in [0, 2]."""
        return np.round(self.similarity - self.second_similarity, DECIMALS)

    def rows(self, rows: NDArray[np.intp]) -> "Nearest":
        """Take some objects."""
        return Nearest(
            self.first[rows], self.second[rows], self.similarity[rows], self.second_similarity[rows]
        )

    @classmethod
    def joined(cls, parts: Sequence["Nearest"]) -> "Nearest":
        """Put the parts of consecutive objects together; none give an empty one."""
        kinds = (("first", "i4"), ("second", "i4"), ("similarity", "f4"), ("second_similarity", "f4"))
        columns: list[Any] = [
            np.concatenate([np.empty(0, kind), *(getattr(part, name) for part in parts)]).astype(kind)
            for name, kind in kinds
        ]
        return cls(*columns)


def find_nearest(features: NDArray[Any], vectors: NDArray[np.float32]) -> Nearest:
    """Find the two categories nearest to each object; of equally near ones the first rows.

    Args:
        features: (N, D) of any scale and number type; not changed. A row of zeros, or one that is not
            finite, has no direction, hence NaN as its similarity.
        vectors: (C, D) unit-norm, C > 0.
    """
    features = features.astype(np.float32)  # (N, D)
    norms = np.sqrt(np.einsum("nd,nd->n", features, features))  # (N,)
    usable = np.isfinite(norms) & (norms > 0)
    features[~usable] = 0
    products = features @ vectors.T  # (N, C), each row scaled by its norm, which does not change the order
    rows = np.arange(len(products))
    first = products.argmax(axis=1)
    divisor = np.where(usable, norms, np.nan)
    similarity = products[rows, first] / divisor
    if len(vectors) == 1:
        second, second_similarity = np.full(len(products), -1), np.full(len(products), -1.0)
    else:
        products[rows, first] = -np.inf
        second = products.argmax(axis=1)
        second_similarity = products[rows, second] / divisor
    return Nearest(
        first.astype(np.int32),
        second.astype(np.int32),
        np.round(similarity, DECIMALS).astype(np.float32),
        np.round(second_similarity, DECIMALS).astype(np.float32),
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes an object clear enough; see the top of the file."""

    min_similarity: float
    """Cosine in [-1, 1]."""
    min_margin: float
    """In [0, 2]."""
    agreement: Agreement
    per_category: int | None
    """At most so many of a category: the most similar ones. None for any number."""
    keep: int | None
    """So many in all: the most similar ones. None for any number."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the rule says of every object."""

    verdicts: NDArray[np.uint8]
    """(N,) indices of `VERDICTS`."""
    threshold: float
    """The similarity that decides: of the last one kept where `keep` left some out, else the rule's."""

    @property
    def selected(self) -> NDArray[np.intp]:
        """Rows of the selected objects, in order."""
        return np.flatnonzero(self.verdicts == 0)


def select(
    nearest: Nearest, source_ids: Sequence[str], rule: Rule, agrees: NDArray[np.bool_] | None = None
) -> Selection:
    """Judge every object; of equally similar ones those with the lesser id come first.

    Args:
        source_ids: N ids, no two the same.
        agrees: (N,) whether an object's own name or tags name its category; None where that is ignored.
    """
    assert rule.agreement == "ignored" or agrees is not None, "agreement needs to be told"
    unclear = nearest.margin < np.float32(rule.min_margin)
    disagrees = np.zeros(len(unclear), bool)
    if agrees is not None and rule.agreement == "required":
        disagrees = ~agrees
    elif agrees is not None and rule.agreement == "waives_margin":
        unclear = unclear & ~agrees
    conditions = [
        np.isnan(nearest.similarity),
        nearest.similarity < np.float32(rule.min_similarity),
        unclear,
        disagrees,
    ]
    verdicts = np.select(conditions, range(1, len(conditions) + 1), 0).astype(np.uint8)  # (N,)
    ranked = _by_similarity(np.flatnonzero(verdicts == 0), nearest.similarity, source_ids)
    if rule.per_category is not None:
        full = _place_in_category(nearest.first[ranked]) >= rule.per_category
        verdicts[ranked[full]] = VERDICTS.index("over_limit")
        ranked = ranked[~full]
    threshold = rule.min_similarity
    if rule.keep is not None and len(ranked) > rule.keep:
        verdicts[ranked[rule.keep :]] = VERDICTS.index("beyond_keep")
        threshold = float(nearest.similarity[ranked[rule.keep - 1]])
    return Selection(verdicts, threshold)


def _by_similarity(
    rows: NDArray[np.intp], similarity: NDArray[np.float32], source_ids: Sequence[str]
) -> NDArray[np.intp]:
    """Order rows: the most similar first, equally similar ones by their ids."""
    by_id = np.array(sorted(rows.tolist(), key=source_ids.__getitem__), np.intp)
    return by_id[np.argsort(-similarity[by_id], kind="stable")]


def _place_in_category(categories: NDArray[np.int32]) -> NDArray[np.intp]:
    """Number the members of each category, in their order, from 0."""
    order = np.argsort(categories, kind="stable")
    grouped = categories[order]
    starts = np.searchsorted(grouped, grouped)  # first position of each one's category
    places = np.empty(len(categories), np.intp)
    places[order] = np.arange(len(categories)) - starts
    return places
