"""Plain webdataset tars, read in place and in any order: a picture and a `.cls` (or `.txt`) for each key."""

import hashlib
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mvcap.errors import CorruptDatasetError, EmptyInputError, UsageError
from mvcap.imagenet_names import default_names
from training.pictures import EncodedPicture, PictureTable
from training.pictures._classes import class_names, read_label_map
from training.pictures._tables import labelled_table

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})
LABELS: Final = ".cls"
CLASS_NAMES: Final = "classnames.txt"
"""A name a line, beside the tars or one folder above: where clip_benchmark puts them."""
LONGEST_LABEL: Final = 4096


@dataclass(slots=True)
class _Sample:
    """What a tar holds of one key."""

    file: int
    key: str
    offset: int = -1
    size: int = 0
    label: str | None = None


class TarPictures:
    """Every picture of a folder of tars; each is an object of its own.

    Labels are numbers from 0, whose names stand in `classnames.txt`, in the file given, or are ImageNet's
    where there are a thousand of them.

    Raises:
        EmptyInputError: no tar holds a picture with a label.
        UsageError: the classes have no names.
    """

    def __init__(self, folder: Path, *, names: Path | None = None, caption: str | None = None) -> None:
        self._files = sorted(folder.glob("*.tar"))
        samples = [sample for file, path in enumerate(self._files) for sample in _samples(file, path)]
        self._samples = [sample for sample in samples if sample.offset >= 0 and sample.label is not None]
        if not self._samples:
            raise EmptyInputError(f"no tar in {folder} holds a picture with a {LABELS} file (0 pictures)")
        used = [sample.label or "" for sample in self._samples]
        self.table: PictureTable = labelled_table(used, _names(folder, used, names), caption)

    def key(self, row: int) -> str:
        """Name a picture by its tar and key."""
        sample = self._samples[row]
        return f"{self._files[sample.file].name}/{sample.key}"

    def identity(self) -> str:
        """Hash the names and places of the pictures: to read all of the tars would take hours."""
        digest = hashlib.sha256()
        for row, sample in enumerate(self._samples):
            digest.update(
                f"{self.key(row)}\0{sample.offset}\0{sample.size}\0".encode("utf-8", "surrogateescape")
            )
        return digest.hexdigest()[:16]

    def read(self, rows: Sequence[int]) -> list[EncodedPicture]:
        """Read byte ranges of the tars."""
        found = []
        for row in rows:
            sample = self._samples[row]
            try:
                with self._files[sample.file].open("rb") as file:
                    file.seek(sample.offset)
                    found.append(EncodedPicture(file.read(sample.size)))
            except OSError as error:
                raise CorruptDatasetError(f"cannot read {self.key(row)}: {error}") from error
        return found


def _samples(file: int, path: Path) -> list[_Sample]:
    samples: dict[str, _Sample] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                folder, slash, name = entry.name.rpartition("/")
                stem, dot, suffix = name.partition(".")
                key, suffix = folder + slash + stem, (dot + suffix).lower()
                if not entry.isreg() or (suffix not in SUFFIXES and suffix != LABELS):
                    continue
                sample = samples.setdefault(key, _Sample(file, key))
                if suffix in SUFFIXES:
                    sample.offset, sample.size = entry.offset_data, entry.size
                elif entry.size <= LONGEST_LABEL and (content := archive.extractfile(entry)):
                    sample.label = content.read().decode("utf-8", "replace").strip()
    except (OSError, tarfile.TarError) as error:
        raise CorruptDatasetError(
            f"cannot read {path}: {error}; tars must be plain, not compressed"
        ) from error
    return list(samples.values())


def _names(folder: Path, used: list[str], names: Path | None) -> dict[str, str]:
    """Map each label that may occur to its class's name, in the order of the numbers."""
    beside = [path for path in (folder / CLASS_NAMES, folder.parent / CLASS_NAMES) if path.is_file()]
    labels = sorted(
        set(used), key=lambda label: (not label.isdigit(), int(label) if label.isdigit() else 0, label)
    )
    if names is not None:
        table = read_label_map(names, labels)
        return class_names([*table] if set(used) <= set(table) else labels, names)
    if beside:
        lines = beside[0].read_text("utf-8-sig").splitlines()
        listed = {str(number): line.strip() for number, line in enumerate(lines) if line.strip()}
    elif all(label.isdigit() for label in labels) and int(labels[-1]) < 1000:
        wnids = default_names()
        listed = {str(number): wnids[wnid] for number, wnid in enumerate(sorted(wnids))}
        if len(labels) < 500:
            raise UsageError(
                f"the tars in {folder} have {len(labels)} classes without names: give a file of them, or put "
                f"a {CLASS_NAMES} with a name a line beside them"
            )
    else:
        return class_names(labels, None)
    if missing := [label for label in labels if label not in listed]:
        raise UsageError(f"{folder} has no name for the class {missing[0]!r}")
    return listed
