"""The filter: embeddings against category vectors, in chunks on a runner, and what the rule says of each."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mvcap.config import Config, FilterConfig
from mvcap.embeddings.arrays import Embeddings, read_embeddings
from mvcap.embeddings.openshape import require_fit
from mvcap.embeddings.vectors import CategoryVectors
from mvcap.errors import EmptyInputError
from mvcap.selected import SELECTED_SCHEMA
from mvcap.selection import VERDICTS, Nearest, Rule, Selection, find_nearest, select
from pipelines import filter_inputs
from pipelines.progress import telling
from pipelines.stages import Runner

ROWS_PER_CHUNK: Final = 32_768
"""What a worker is given at once."""
ROWS_PER_PRODUCT: Final = 2_048
"""Of them, in one matrix product: 10 MB of features and 13 MB of similarities to 1,600 categories."""
DUPLICATE: Final = "duplicate"
"""Reason of a row that repeats an earlier one of the same id."""


class Comparison:
    """Finds the nearest categories of a range of rows; it opens the file where it runs."""

    def __init__(self, path: Path, vectors: NDArray[np.float32]) -> None:
        self._path = path
        self._vectors = vectors

    def __call__(self, rows: tuple[int, int]) -> Nearest:
        embeddings = _opened(self._path, self._path.stat().st_mtime_ns)
        starts = range(*rows, ROWS_PER_PRODUCT)
        parts = [
            find_nearest(embeddings.chunk(start, min(start + ROWS_PER_PRODUCT, rows[1])), self._vectors)
            for start in starts
        ]
        return Nearest.joined(parts)


@lru_cache(maxsize=1)
def _opened(path: Path, _changed_ns: int) -> Embeddings:
    return read_embeddings(path)


@dataclass(frozen=True, slots=True)
class Filtered:
    """What became of every object."""

    names: tuple[str, ...]
    """C categories."""
    source_ids: Sequence[str]
    """N objects, no two the same."""
    nearest: Nearest
    selection: Selection
    duplicates: tuple[str, ...]
    """Ids of rows that repeat an earlier one."""
    repeated_categories: int

    @property
    def counts(self) -> dict[str, int]:
        """How many objects there are of each verdict, the selected ones first."""
        found = Counter(self.selection.verdicts.tolist())
        counts = {name: found[code] for code, name in enumerate(VERDICTS) if found[code] or not code}
        return counts | ({DUPLICATE: len(self.duplicates)} if self.duplicates else {})

    def selected(self) -> pa.Table:
        """Return the selected objects, in the order of the file."""
        return self._table(self.selection.selected)

    def left_out(self) -> pa.Table:
        """Return the others, each with its reason; what repeats an object comes last."""
        rows = np.flatnonzero(self.selection.verdicts)
        of_ids = {source_id: row for row, source_id in enumerate(self.source_ids)} if self.duplicates else {}
        repeating = np.array([of_ids[source_id] for source_id in self.duplicates], np.intp)
        reasons = [VERDICTS[code] for code in self.selection.verdicts[rows]]
        table = self._table(np.concatenate([rows, repeating]))
        return table.append_column("reason", pa.array([*reasons, *[DUPLICATE] * len(repeating)], pa.string()))

    def per_category(self) -> list[dict[str, Any]]:
        """Count for each category the objects nearest to it, and the selected ones."""
        usable = ~np.isnan(self.nearest.similarity)
        near = np.bincount(self.nearest.first[usable], minlength=len(self.names))
        chosen = self.nearest.first[self.selection.selected]
        taken = np.bincount(chosen, minlength=len(self.names))
        return [
            {"category": name, "selected": int(taken[row]), "nearest": int(near[row])}
            for row, name in enumerate(self.names)
        ]

    def _table(self, rows: NDArray[np.intp]) -> pa.Table:
        nearest = self.nearest.rows(rows)
        unusable = np.isnan(nearest.similarity)
        no_second = unusable | (nearest.second < 0)
        names = pa.array(self.names, pa.string())
        columns = [
            pa.array([self.source_ids[row] for row in rows.tolist()], pa.string()),
            names.take(pa.array(nearest.first)),
            pa.array(nearest.similarity, mask=unusable),
            names.take(pa.array(nearest.second, mask=no_second)),
            pa.array(nearest.margin, mask=no_second),
        ]
        return pa.Table.from_arrays(columns, schema=SELECTED_SCHEMA)


def filter_objects(
    config: Config,
    section: FilterConfig,
    runner: Runner,
    say: Callable[[str], None],
    *,
    embeddings_file: Path | None = None,
) -> Filtered:
    """Compare every embedding with every category and judge by the configured rule.

    Args:
        embeddings_file: instead of the configured one.

    Raises:
        EmptyInputError: the file holds no object.
        MvcapError: embeddings, categories or vectors cannot be had, or do not fit each other.
    """
    categories = filter_inputs.find_categories(config, section)
    vectors = filter_inputs.find_vectors(section, categories)
    path = embeddings_file or filter_inputs.find_embeddings(section)
    embeddings = read_embeddings(path)
    require_fit(embeddings.dimensions, vectors.vectors.shape[1])
    if not len(embeddings.source_ids):
        raise EmptyInputError(f"0 objects: {path} holds no embedding")
    say(f"comparing {len(embeddings.source_ids)} objects with {len(vectors.names)} categories")
    chunks = chunks_of(len(embeddings.source_ids))
    parts = runner.map(Comparison(path, vectors.vectors), chunks, workers=config.run.filter_workers)
    nearest = Nearest.joined(list(telling(parts, len(chunks), "chunks compared", say)))
    return _judged(config, section, embeddings, vectors, nearest, categories.repeated)


def chunks_of(count: int) -> list[tuple[int, int]]:
    """Divide rows into the ranges that workers are given."""
    return [(start, min(start + ROWS_PER_CHUNK, count)) for start in range(0, count, ROWS_PER_CHUNK)]


def _judged(
    config: Config,
    section: FilterConfig,
    embeddings: Embeddings,
    vectors: CategoryVectors,
    nearest: Nearest,
    repeated_categories: int,
) -> Filtered:
    source_ids = embeddings.source_ids
    duplicates = tuple(source_ids[row] for row in embeddings.repeated)
    if duplicates:
        kept = np.setdiff1d(np.arange(len(source_ids)), np.array(embeddings.repeated))
        source_ids, nearest = [source_ids[row] for row in kept], nearest.rows(kept)
    rule = Rule(
        min_similarity=section.min_similarity,
        min_margin=section.min_margin,
        agreement=section.agreement,
        per_category=section.per_category,
        keep=section.keep,
    )
    agrees = _agrees(config, rule, source_ids, vectors.names, nearest)
    selection = select(nearest, source_ids, rule, agrees)
    return Filtered(vectors.names, source_ids, nearest, selection, duplicates, repeated_categories)


def _agrees(
    config: Config, rule: Rule, source_ids: Sequence[str], names: Sequence[str], nearest: Nearest
) -> NDArray[np.bool_] | None:
    """Ask for the own names of objects that are similar enough; of the others they do not matter."""
    if rule.agreement == "ignored":
        return None
    candidates = np.flatnonzero(nearest.similarity >= np.float32(rule.min_similarity))
    agrees = np.zeros(len(source_ids), bool)
    agrees[candidates] = filter_inputs.agreements(
        config, [source_ids[row] for row in candidates], names, nearest.first[candidates]
    )
    return agrees
