"""The views of a finished dataset of ours, read from its Parquet shards."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mvcap.commits import CAPTION
from mvcap.errors import CorruptDatasetError, EmptyInputError
from mvcap.quantities import quantity
from mvcap.schema import HIDDEN_COLOUR, OBJECTS
from mvcap.storage import Store
from mvcap.tables import read_table
from training.pictures import UNKNOWN, EncodedPicture, PictureTable

STRINGS: Final = ["uid", "category", "caption"]
COLUMNS: Final = [*STRINGS, "view_index", "azimuth_deg", "elevation_deg", "split"]
OPEN_FILES: Final = 64
"""Shards whose footers are kept: a few hundred kilobytes each."""


class DatasetPictures:
    """Chosen views of a dataset; only files that commit records name are read.

    Args:
        keep: given a split and a uid, whether that object's views are wanted.

    Raises:
        OutputError: the folder is no dataset.
        CorruptDatasetError: a file is gone or damaged.
        EmptyInputError: no view is wanted.
    """

    def __init__(self, folder: Path, keep: Callable[[str, str], bool]) -> None:
        self._files, self._checksums = _committed_files(folder)
        parts = [part for index, path in enumerate(self._files) for part in _wanted(index, path, keep)]
        if not parts:
            raise EmptyInputError(f"{folder} has no views to take: 0 of its objects are wanted")
        rows = pa.concat_tables(parts).unify_dictionaries().combine_chunks()
        parts.clear()
        uids = rows["uid"].combine_chunks()
        order = np.argsort(uids.indices.to_numpy(), kind="stable")
        rows = rows.take(order)
        self._uids = uids.dictionary
        self._view_index = rows["view_index"].to_numpy()
        self._place: NDArray[np.int32] = np.stack(
            [rows[name].to_numpy() for name in ("file", "group", "row")], axis=1
        ).astype(np.int32)  # (P, 3)
        captions, caption_index = _distinct(rows["caption"])
        categories, category_index = _distinct(rows["category"])
        self.table = PictureTable(
            object_index=uids.indices.to_numpy()[order].astype(np.int32),
            categories=tuple(categories),
            category_index=category_index,
            captions=captions,
            caption_index=caption_index,
            azimuth_deg=_floats(rows["azimuth_deg"]),
            elevation_deg=_floats(rows["elevation_deg"]),
        )
        self._open = lru_cache(maxsize=OPEN_FILES)(pq.ParquetFile)
        pa.default_memory_pool().release_unused()  # hundreds of megabytes for a million views

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _open=lru_cache(maxsize=OPEN_FILES)(pq.ParquetFile))

    def identity(self) -> str:
        """Hash the files' recorded checksums, and which views of them are taken."""
        digest = hashlib.sha256("".join(self._checksums).encode())
        digest.update(self._place.tobytes())
        return digest.hexdigest()[:16]

    def uid(self, object_index: int) -> str:
        """Return an object's uid."""
        return str(self._uids[object_index])

    def view_index(self, row: int) -> int:
        """Return the number of a view within its object."""
        return int(self._view_index[row])

    def key(self, row: int) -> str:
        """Name a view as `uid#view`."""
        return f"{self.uid(int(self.table.object_index[row]))}#{self.view_index(row)}"

    def read(self, rows: Sequence[int]) -> list[EncodedPicture]:
        """Read pictures; views of one object next to each other are read at once."""
        found: list[EncodedPicture | None] = [None] * len(rows)
        groups: dict[tuple[int, int], list[int]] = {}
        for position, row in enumerate(rows):
            file, group, _ = self._place[row]
            groups.setdefault((int(file), int(group)), []).append(position)
        for (file, group), positions in groups.items():
            table = self._read_group(file, group)
            images = table["image"].combine_chunks().field("bytes")
            for position in positions:
                row = int(self._place[rows[position], 2])
                background = table["background"][row].as_py()
                colour = background if background.startswith("#") else HIDDEN_COLOUR
                found[position] = EncodedPicture(images[row].as_buffer().to_pybytes(), colour, exif=True)
        return [picture for picture in found if picture is not None]

    def _read_group(self, file: int, group: int) -> pa.Table:
        path = self._files[file]
        try:
            return self._open(path, memory_map=True).read_row_group(
                group, columns=["image.bytes", "background"], use_threads=False
            )
        except (OSError, pa.ArrowException) as error:
            raise CorruptDatasetError(f"cannot read {path}: {error}; `mvcap verify` tells more") from error


def require_whole(pictures: DatasetPictures, folder: Path, keep: Callable[[str, str], bool]) -> None:
    """Compare with the views that the finished dataset's `objects.parquet` tells of, where there is one.

    Args:
        keep: what `pictures` was opened with.

    Raises:
        CorruptDatasetError: some of them are missing, which their shards' absence alone does not tell.
    """
    if not (folder / OBJECTS).exists():
        return
    counts = pictures.table.counts
    found = {pictures.uid(number): int(count) for number, count in enumerate(counts)}
    told = ["uid", "split", "views"]
    rows = read_table(folder / OBJECTS, columns=told, filters=[("status", "==", "done")]).to_pylist()
    lacking = [
        row["uid"] for row in rows if keep(row["split"], row["uid"]) and found.get(row["uid"]) != row["views"]
    ]
    if lacking:
        raise CorruptDatasetError(
            f"{folder} lacks views of {quantity(len(lacking), 'object')}, such as {lacking[0]}: "
            "files of it are gone or damaged. `mvcap verify` finds them, and "
            "the command that built it makes them anew"
        )


def _committed_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the data's files and their checksums, by their commit records."""
    store = Store(folder)
    shards = store.require_plan().shards
    commits = [commit for shard in shards if (commit := store.find_commit(CAPTION, shard)) and commit.file]
    return [folder / str(commit.file) for commit in commits], [str(commit.sha256) for commit in commits]


def _wanted(index: int, path: Path, keep: Callable[[str, str], bool]) -> Iterator[pa.Table]:
    """Yield the wanted rows of a file, with where each stands in it; strings are dictionary-encoded."""
    try:
        file = pq.ParquetFile(path)
        rows = file.read(columns=COLUMNS)
    except (OSError, pa.ArrowException) as error:
        raise CorruptDatasetError(f"cannot read {path}: {error}; `mvcap verify` tells more") from error
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
    group = np.repeat(np.arange(len(sizes)), sizes)
    within = np.concatenate([np.arange(size) for size in sizes]) if sizes else group
    pairs = zip(rows["split"].to_pylist(), rows["uid"].to_pylist(), strict=True)
    answers: dict[tuple[str, str], bool] = {}
    wanted = [answers[pair] if pair in answers else answers.setdefault(pair, keep(*pair)) for pair in pairs]
    places = {"file": np.full(len(group), index), "group": group, "row": within}
    for name, values in places.items():
        rows = rows.append_column(name, pa.array(values, pa.int32()))
    if any(wanted):
        rows = rows.drop_columns(["split"]).filter(pa.array(wanted))
        for name in STRINGS:
            rows = rows.set_column(rows.column_names.index(name), name, rows[name].dictionary_encode())
        yield rows


def _distinct(column: pa.ChunkedArray) -> tuple[Sequence[str], NDArray[np.int32]]:
    """Return the strings of a dictionary-encoded column, and for each row its string's number or UNKNOWN."""
    encoded = column.combine_chunks()
    index = pc.fill_null(encoded.indices, UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int32)
    return Strings(encoded.dictionary), index


class Strings(Sequence[str]):
    """Strings that stay in Arrow's memory, at a third of what Python's take."""

    def __init__(self, values: pa.Array) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        found = self.values[index]
        return found.as_py() if isinstance(index, int) else found.to_pylist()


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    values: NDArray[np.float32] = column.combine_chunks().to_numpy(zero_copy_only=False).astype(np.float32)
    return values
