"""A small record that several machines change one after another: read it, then swap it for the next.

In storage it is an object that is put under a condition. In a folder that machines share it is a folder of
numbered files, of which the last one counts: a link takes the next number, or finds it taken.
"""

from contextlib import suppress
from pathlib import Path

from mvcap import files
from mvcap.places import Place


def read_cell(cell: Place) -> tuple[bytes, str | None]:
    """Return what a cell holds and the version to swap; nothing, and None, where nobody has written yet."""
    if isinstance(cell, Path):
        return _read_last(cell)
    try:
        return files.read_versioned(cell)
    except FileNotFoundError:
        return b"", None


def swap_cell(cell: Place, content: bytes, version: str | None) -> bool:
    """Write what a cell is to hold next, unless it has changed since `read_cell` gave `version`.

    Returns:
        Whether it surely was written. Written and at once replaced by another may look like not written:
        make changes that do no harm when made twice.
    """
    if isinstance(cell, Path):
        return _take_next(cell, content, int(version or 0) + 1)
    if version is None:
        return files.create_if_absent(cell, content)
    return files.replace(cell, content, version)


def _read_last(cell: Path) -> tuple[bytes, str | None]:
    while numbers := _numbers(cell):
        with suppress(FileNotFoundError):  # a later one has taken its place
            return files.read_bytes(_file(cell, numbers[-1])), str(numbers[-1])
    return b"", None


def _take_next(cell: Path, content: bytes, number: int) -> bool:
    if not files.create_if_absent(_file(cell, number), content):
        return False
    last = _numbers(cell)[-1]
    for passed in _numbers(cell):
        if passed < last:
            files.delete(_file(cell, passed))
    return last == number  # else the number was free only because those after it had removed it


def _numbers(cell: Path) -> list[int]:
    with suppress(FileNotFoundError):
        return sorted(int(path.name) for path in cell.iterdir() if path.name.isdecimal())
    return []


def _file(cell: Path, number: int) -> Path:
    return cell / f"{number:08d}"
