"""Objects whose assets are the same, byte for byte: they must not stand in different splits.

Sizes are compared first, so that only files of the same size are read. What is not on disk, such as an
object that is yet to be downloaded, has no twins: its renders may still show that it resembles another.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from mvcap.files import sha256_of
from mvcap.sources.folder import SUFFIXES


def find_twins(
    new: Mapping[str, Path], planned: Mapping[str, Path], rendered: Callable[[], Mapping[str, str]]
) -> dict[str, str]:
    """Map every object with the asset of another to the asset's sha256, where one of them is new.

    Args:
        new: assets of the objects that are not planned yet, by uid.
        planned: those of objects that are, wherever they lay last.
        rendered: gives the sha256 of the assets that planned objects were rendered from, by uid; not called
            where nothing is new.
    """
    if not new:
        return {}
    known = {uid: digest for uid, digest in rendered().items() if uid in planned}
    files = _own_files({**planned, **new})
    sizes = {uid: size for uid, path in files.items() if (size := _size(path)) is not None}
    shared = Counter(sizes.values())
    # The size of an asset that has vanished is not known: then every new one may be its twin.
    everything = any(uid not in sizes for uid in known)
    digests = dict(known)
    for uid, size in sizes.items():
        alike = shared[size] > 1 or (everything and uid in new)
        if uid not in digests and alike and (digest := _digest(files[uid], size)):
            digests[uid] = digest
    wanted = {digest for uid, digest in digests.items() if uid in new}
    counted = Counter(digests.values())
    return {uid: digest for uid, digest in digests.items() if digest in wanted and counted[digest] > 1}


def _own_files(assets: Mapping[str, Path]) -> dict[str, Path]:
    """Leave out archives that hold several objects: such a file says nothing of any one of them.

    A model file that several sources list is one object, by whatever names.
    """
    holders = Counter(assets.values())
    return {
        uid: path for uid, path in assets.items() if holders[path] == 1 or path.suffix.lower() in SUFFIXES
    }


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):
        return None


@cache
def _digest(path: Path, size: int) -> str | None:
    """Hash a file of this size, once for each run, which plans twice."""
    try:
        return sha256_of(path)
    except OSError:
        return None
