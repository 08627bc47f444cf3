"""Read pictures out of strangers' archives: nothing is unpacked, and no name in one is used as a path."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from mvcap.errors import BAD_ASSET, TOO_BIG
from mvcap.pictures import UnusableInputError, require_bearable

MOST_ENTRIES: Final = 1_000_000
"""Of one archive: its list of contents is held in memory, about 0.5 kB for each."""
LONGEST_NAME: Final = 1000
LONGEST_PART: Final = 250
"""Bytes: file systems end at 255, and a suffix may follow."""
LARGEST_UNPACKED_BYTES: Final = 2**41
"""Of one archive: more than the pictures of any corpus read here."""


class Archive:
    """A zip whose entries are read one by one.

    Args:
        most_entries: of the archive; checked before anything is read.
        largest_bytes: of all entries together, unpacked, by what the archive itself says.

    Raises:
        UnusableInputError: it is no zip, or exceeds a limit.
    """

    def __init__(
        self,
        path: Path,
        *,
        most_entries: int = MOST_ENTRIES,
        largest_bytes: int = LARGEST_UNPACKED_BYTES,
    ) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise UnusableInputError(
                BAD_ASSET, f"{path.name!r} is no zip that can be read: {error}"
            ) from error
        entries = [entry for entry in self._zip.infolist() if not entry.is_dir()]
        if len(entries) > most_entries:
            raise UnusableInputError(
                TOO_BIG, f"{path.name!r} has {len(entries)} entries, more than {most_entries}"
            )
        if (unpacked := sum(entry.file_size for entry in entries)) > largest_bytes:
            message = f"{path.name!r} would unpack to {unpacked} bytes, more than {largest_bytes}"
            raise UnusableInputError(TOO_BIG, message)
        self._entries = {entry.filename: entry for entry in entries}

    def __iter__(self) -> Iterator[str]:
        """Yield the entries' names, as text only."""
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def read(self, name: str) -> bytes:
        """Return one entry's bytes, no more than the archive has said it has.

        Raises:
            UnusableInputError: it is damaged, encrypted, too big, or not there.
        """
        if (entry := self._entries.get(name)) is None:
            raise UnusableInputError(BAD_ASSET, f"{self.path.name!r} holds no {name!r}")
        require_bearable(entry.file_size)
        try:
            return self._zip.read(entry)
        except (
            OSError,
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            EOFError,
            ValueError,
            zlib.error,
            lzma.LZMAError,
        ) as error:
            message = f"{name!r} in {self.path.name!r} cannot be read: {error}"
            raise UnusableInputError(BAD_ASSET, message) from error

    def close(self) -> None:
        self._zip.close()


@dataclass(frozen=True, slots=True)
class EntryContent:
    """One entry of an archive."""

    archive: Archive
    name: str

    def read(self) -> bytes:
        return self.archive.read(self.name)


def plain_parts(name: str) -> tuple[str, ...] | None:
    """Split a relative name of a stranger's list.

    None for one that could lead out of its folder, or that no file system can hold.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    too_long = len(name) > LONGEST_NAME or any(
        len(part.encode("utf-8", "surrogatepass")) > LONGEST_PART for part in parts
    )
    unusable = path.is_absolute() or ".." in parts or "\0" in name or too_long
    return None if unusable or not parts else parts
