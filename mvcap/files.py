"""Every byte of a dataset goes through here, wherever it lies: wholly there or not at all."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mvcap import local_files, object_files
from mvcap.errors import OutputError
from mvcap.local_files import cache_folder as cache_folder
from mvcap.local_files import disk_full_explained as disk_full_explained
from mvcap.local_files import sync as sync
from mvcap.places import TEMPORARY as TEMPORARY
from mvcap.places import AnyPlace, FileFacts, ObjectPlace, Place
from mvcap.places import temporary_name as temporary_name


def json_bytes(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def probe(folder: Place) -> None:
    """Make sure that a place takes files, and keeps the promises that commits rest on; nothing is left in it.

    Raises:
        OSError: a folder cannot be made or written.
        OutputError: storage cannot be reached or written, or ignores the conditions of a write.
    """
    if isinstance(folder, Path):
        local_files.probe(folder)
    else:
        object_files.probe(folder)


def require_writable(folder: Place) -> None:
    """Probe the output folder before anything else happens.

    Raises:
        OutputError: it cannot be created or written.
    """
    try:
        probe(folder)
    except OSError as error:
        problem = f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
        raise OutputError(problem) from error


def facts(place: Place, *, anew: bool = False) -> FileFacts | None:
    """Return what can be told of a file without reading it; None where there is no such file.

    Args:
        anew: ask even if `fetched` has an answer.
    """
    return local_files.facts(place) if isinstance(place, Path) else object_files.facts(place, anew=anew)


def exists(place: Place) -> bool:
    return facts(place) is not None


def read_bytes(place: Place) -> bytes:
    """Read a whole file.

    Raises:
        FileNotFoundError: there is none.
    """
    return place.read_bytes() if isinstance(place, Path) else object_files.read_versioned(place)[0]


def read_versioned(place: Place) -> tuple[bytes, str]:
    """Read a whole file, and what `replace` takes for its version.

    Raises:
        FileNotFoundError: there is none.
    """
    if isinstance(place, Path):
        return local_files.read_versioned(place)
    return object_files.read_versioned(place)


def checksum_of(place: Place) -> str:
    """Return a file's SHA-256 as whoever put it there told it, else that of its content.

    Raises:
        FileNotFoundError: there is none.
    """
    found = facts(place)
    return found.sha256 if found and found.sha256 else sha256_of(place)


@contextmanager
def fetched(contents: Iterable[Place], facts_of: Callable[[], Iterable[Place]]) -> Iterator[None]:
    """Ask storage about many files at once; the answers count for this thread until the end of the block.

    What this thread changes meanwhile is asked anew. In a folder, which answers at once, nothing happens.

    Args:
        contents: files to read.
        facts_of: says, once these are read, about which ones to ask for their `facts`.
    """
    objects = [place for place in contents if isinstance(place, ObjectPlace)]
    if not objects:
        yield
        return
    with object_files.fetched(
        objects, lambda: (place for place in facts_of() if isinstance(place, ObjectPlace))
    ):
        yield


@contextmanager
def open_input(place: Place) -> Iterator[Any]:
    """Give what `pyarrow.parquet` takes as a source: a path, or a file that fetches what is read of it.

    Raises:
        FileNotFoundError: there is none.
    """
    if isinstance(place, Path):
        yield place
    else:
        with object_files.open_input(place) as file:
            yield file


def list_files(folder: Place) -> list[Path] | list[ObjectPlace]:
    """List all files in a folder and below, sorted; none where there is no such folder.

    Storage may list a new file late: what must not be missed has a name that is known, and is read by it.
    """
    return local_files.list_files(folder) if isinstance(folder, Path) else object_files.list_files(folder)


def delete(place: Place) -> None:
    """Remove a file; nothing happens where there is none."""
    if isinstance(place, Path):
        local_files.delete(place)
    else:
        object_files.delete(place)


def move(source: AnyPlace, target: AnyPlace) -> None:
    """Give a file another name, durably, replacing what has that name.

    Storage knows no names to change: there it is a copy that the server makes, and the end of the source.

    Raises:
        FileNotFoundError: there is no source.
    """
    if isinstance(source, Path):
        assert isinstance(target, Path)
        local_files.move(source, target)
    else:
        assert isinstance(target, ObjectPlace)
        object_files.move(source, target)


def write_bytes(place: Place, content: bytes) -> None:
    """Write a file atomically and durably, replacing what was there."""
    if isinstance(place, Path):
        local_files.write_bytes(place, content)
    else:
        object_files.write_bytes(place, content)


def write_json(place: Place, content: Any) -> None:
    """Write JSON atomically and durably, replacing what was there."""
    write_bytes(place, json_bytes(content))


def create_if_absent(place: Place, content: bytes) -> bool:
    """Write a file atomically unless it exists; return whether this call created it."""
    if isinstance(place, Path):
        return local_files.create_if_absent(place, content)
    return object_files.create_if_absent(place, content)


def replace(place: Place, content: bytes, version: str) -> bool:
    """Write a file anew unless it has another version by now; return whether this call did.

    In a folder, callers that may be two at once hold a lock.
    """
    if isinstance(place, Path):
        return local_files.replace(place, content, version)
    return object_files.replace(place, content, version)


@contextmanager
def staged(place: Place) -> Iterator[Path]:
    """Give a local path to fill; on leaving, make it durable at its place.

    Raises:
        DiskFullError: the disk or quota is exhausted; the temporary file is gone then.
    """
    if isinstance(place, Path):
        with local_files.staged(place) as path:
            yield path
    else:
        with object_files.scratch(place) as path:
            yield path
            object_files.publish(path, place)


@contextmanager
def scratch(place: Place) -> Iterator[Path]:
    """Give a local path of the same name to fill, which `publish` then makes the file at `place`."""
    if isinstance(place, Path):
        with local_files.scratch(place) as path:
            yield path
    else:
        with object_files.scratch(place) as path:
            yield path


def publish(scratch_file: Path, place: Place) -> FileFacts:
    """Make what was filled under `scratch` durable at its place, and return its size and checksum."""
    if isinstance(place, Path):
        return local_files.publish(scratch_file, place)
    return object_files.publish(scratch_file, place)


def sha256_of(place: Place) -> str:
    """Hash a file's content.

    Raises:
        FileNotFoundError: there is none.
    """
    return local_files.sha256_of(place) if isinstance(place, Path) else object_files.sha256_of(place)


def discard_uploads(folder: Place) -> None:
    """Let go of the uploads that killed runs left unfinished; a folder has none."""
    if isinstance(folder, ObjectPlace):
        object_files.discard_uploads(folder)
