"""Files of object embeddings, read in chunks: a `.pt` file as OpenShape's, or an `.npz` file, both with the
keys `us` (ids) and `feats` (one row each)."""

import pickle
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mvcap.errors import EmbeddingsError
from mvcap.plugins import missing_extra

IDS: Final = "us"
FEATURES: Final = "feats"
DAMAGED: Final = (
    *(pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, OverflowError, TokenError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What torch and numpy raise, depending on where they notice: a TokenError of a header that is no Python."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of a file; rows are read when they are asked for."""

    source_ids: Sequence[str]
    """N ids."""
    features: Any
    """(N, D) a numpy array or a torch tensor, mapped into memory where the file allows it."""
    repeated: tuple[int, ...]
    """Rows that repeat an earlier one of the same id."""

    @property
    def dimensions(self) -> int:
        return int(self.features.shape[1])

    def chunk(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows as (stop - start, D) numbers of whatever type and scale."""
        return _numpy(self.features[start:stop])


def read_embeddings(path: Path) -> Embeddings:
    """Open a file of embeddings; nothing in it is executed.

    Raises:
        MissingExtraError: it is a `.pt` file, and torch is not installed.
        EmbeddingsError: it is missing, damaged, would execute code, lacks a key or holds something else
            under it, or gives one id two different embeddings.
    """
    content = _read(path)
    ids = _ids(content, path)
    features = _features(content, path)
    if len(ids) != len(features):
        raise EmbeddingsError(
            f"{path} holds {len(ids)} ids under {IDS!r} but {len(features)} rows of {FEATURES!r}"
        )
    return Embeddings(ids, features, _repeated(ids, features, path))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise EmbeddingsError(f"there is no file of embeddings {path}")
    try:
        content = _read_npz(path) if path.suffix == ".npz" else _read_torch(path)
    except DAMAGED as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EmbeddingsError(
            f"{path} is damaged, or holds more than tensors and text, which is never executed: {first_line}"
        ) from error
    if not isinstance(content, dict):
        raise EmbeddingsError(
            f"{path} holds a {type(content).__name__}, not a dict of {IDS!r} and {FEATURES!r}"
        )
    return content


def _read_torch(path: Path) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise missing_extra(f"reading {path.name}", error) from error
    with path.open("rb") as file:
        mapped = file.read(2) == b"PK"  # an older torch wrote no zip file, which cannot be mapped
    return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)


def _read_npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        content = {}
        for key in (IDS, FEATURES):
            if key in arrays:
                try:
                    content[key] = arrays[key]
                except ValueError as error:
                    raise EmbeddingsError(
                        f"{path} holds Python objects under {key!r}, which are never loaded: store "
                        "text and numbers"
                    ) from error
        return content


def _required(content: dict[str, Any], key: str, path: Path) -> Any:
    if key not in content:
        raise EmbeddingsError(f"{path} has no key {key!r} (it has: {', '.join(map(str, content)) or 'none'})")
    return content[key]


def _ids(content: dict[str, Any], path: Path) -> list[str]:
    value = _required(content, IDS, path)
    ids = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(ids, list | tuple) or not all(isinstance(each, str) for each in ids):
        raise EmbeddingsError(f"{path} holds something else than a list of text under {IDS!r}")
    return list(ids)


def _features(content: dict[str, Any], path: Path) -> Any:
    value = _required(content, FEATURES, path)
    kind = str(getattr(value, "dtype", type(value).__name__)).removeprefix("torch.")
    if not kind.startswith(("int", "uint", "float", "bfloat")) or getattr(value, "ndim", 0) != 2:
        shape = tuple(getattr(value, "shape", ()))
        raise EmbeddingsError(
            f"{path} must hold a matrix of numbers under {FEATURES!r}, not {kind} of shape {shape}"
        )
    return value


def _repeated(ids: Sequence[str], features: Any, path: Path) -> tuple[int, ...]:
    if len(set(ids)) == len(ids):
        return ()
    first: dict[str, int] = {}
    repeated = []
    for row, each in enumerate(ids):
        if (earlier := first.setdefault(each, row)) == row:
            continue
        one, other = _numpy(features[earlier]), _numpy(features[row])
        if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
            raise EmbeddingsError(
                f"{path} gives {each!r} two different embeddings, in rows {earlier} and {row}: "
                f"{one[:4].tolist()}... and {other[:4].tolist()}..."
            )
        repeated.append(row)
    return tuple(repeated)


def _numpy(rows: Any) -> NDArray[Any]:
    if isinstance(rows, np.ndarray):
        return rows
    plain: NDArray[Any] = (rows.float() if str(rows.dtype) == "torch.bfloat16" else rows).numpy()
    return plain


def write_embeddings(path: Path, source_ids: Sequence[str], features: NDArray[Any]) -> None:
    """Write an `.npz` file that `read_embeddings` reads."""
    from mvcap import files

    with files.staged(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{IDS: np.array(source_ids, str), FEATURES: features})
