"""Category vectors with their names: read from `.npy` or `.safetensors` files, and kept by content."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mvcap import files
from mvcap.errors import EmbeddingsError
from mvcap.plugins import missing_extra

VECTORS: Final = "vectors"
"""Name of the tensor in a `.safetensors` file; its metadata holds `names`, a JSON list."""


@dataclass(frozen=True, slots=True)
class CategoryVectors:
    """What the objects are compared with."""

    names: tuple[str, ...]
    """C categories as a prompt says them, no two the same."""
    vectors: NDArray[np.float32]
    """(C, D) unit-norm."""


def read_vectors(path: Path, categories: Sequence[str] | None) -> CategoryVectors:
    """Read category vectors and normalise them.

    Names come with the file: those of a `.safetensors` stand in its metadata, those of `v.npy` in
    `v.names.txt`, one a line. Without names, the rows are those of `categories`, in their order. Where the
    file has names, `categories` picks its rows.

    Args:
        categories: names as a prompt says them; None takes every row.

    Raises:
        MissingExtraError: safetensors is needed and not installed.
        EmbeddingsError: the file cannot be read, has no names or no row for a category, or a row that has
            no direction.
    """
    names, vectors = _read(path)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or not len(vectors):
        raise EmbeddingsError(
            f"{path} must hold a matrix of numbers, not {vectors.dtype} of shape {vectors.shape}"
        )
    if names is None:
        names = _names_by_order(path, categories, len(vectors))
    elif len(names) != len(vectors):
        raise EmbeddingsError(f"{path} holds {len(vectors)} vectors but {len(names)} names")
    if (
        doubled := sorted({name for name in names if names.count(name) > 1})
        if len(set(names)) < len(names)
        else []
    ):
        raise EmbeddingsError(f"{path} has several vectors for {', '.join(map(repr, doubled[:5]))}")
    return _picked(path, names, _unit(vectors, names, path), categories)


def write_vectors(path: Path, vectors: CategoryVectors) -> None:
    """Write a `.safetensors` file that `read_vectors` reads."""
    from safetensors.numpy import save

    metadata = {"names": json.dumps(list(vectors.names))}
    files.write_bytes(path, save({VECTORS: vectors.vectors}, metadata))


def _read(path: Path) -> tuple[list[str] | None, NDArray[Any]]:
    try:
        if path.suffix == ".npy":
            beside = path.with_suffix(".names.txt")
            names = read_lines(beside) if beside.exists() else None
            return names, np.load(path, allow_pickle=False)
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
    except (OSError, ValueError, EOFError, OverflowError, TokenError, BadZipFile) as error:
        raise EmbeddingsError(f"cannot read the category vectors {path}: {error}") from error
    raise EmbeddingsError(f"category vectors are read from .npy or .safetensors files, not from {path}")


def _read_safetensors(path: Path) -> tuple[list[str] | None, NDArray[Any]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise missing_extra(f"reading {path.name}", error) from error
    try:
        with safe_open(path, "np") as file:
            keys, metadata = set(file.keys()), file.metadata() or {}
            if VECTORS not in keys:
                raise EmbeddingsError(f"{path} has no tensor {VECTORS!r} (it has: {', '.join(sorted(keys))})")
            vectors: NDArray[Any] = file.get_tensor(VECTORS)
    except SafetensorError as error:
        raise EmbeddingsError(f"{path} is damaged: {error}") from error
    names: Mapping[str, Any] | list[Any] | None = (
        json.loads(metadata["names"]) if "names" in metadata else None
    )
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise EmbeddingsError(f"the metadata of {path} must hold a JSON list of text under 'names'")
    return names, vectors


def _names_by_order(path: Path, categories: Sequence[str] | None, count: int) -> list[str]:
    if categories is None or len(categories) != count:
        given = (
            "no list of categories was given" if categories is None else f"{len(categories)} categories are"
        )
        raise EmbeddingsError(
            f"{path} holds {count} vectors without names, and {given}: put the names into "
            f"{path.with_suffix('.names.txt').name}, one a line"
        )
    return list(categories)


def _unit(vectors: NDArray[Any], names: Sequence[str], path: Path) -> NDArray[np.float32]:
    plain = vectors.astype(np.float32)
    norms = np.linalg.norm(plain, axis=1, keepdims=True)
    if len(bad := np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)))):
        raise EmbeddingsError(f"{path} has a vector without direction: that of {names[bad[0]]!r}")
    unit: NDArray[np.float32] = plain / norms
    return unit


def _picked(
    path: Path, names: Sequence[str], vectors: NDArray[np.float32], categories: Sequence[str] | None
) -> CategoryVectors:
    if categories is None:
        return CategoryVectors(tuple(names), vectors)
    rows = {name: row for row, name in enumerate(names)}
    if missing := [name for name in categories if name not in rows]:
        raise EmbeddingsError(
            f"{path} has no vectors for {len(missing)} of {len(categories)} categories, "
            f"such as {missing[0]!r}"
        )
    return CategoryVectors(tuple(categories), vectors[[rows[name] for name in categories]])


def read_lines(path: Path) -> list[str]:
    """Read a list, one entry a line; a byte-order mark, CRLF and blank lines do no harm.

    Raises:
        EmbeddingsError: it cannot be read, or is empty.
    """
    try:
        lines = [line.strip() for line in path.expanduser().read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise EmbeddingsError(f"cannot read the list {path}: {error}") from error
    if not (entries := [line for line in lines if line]):
        raise EmbeddingsError(f"the list {path} is empty")
    return entries
