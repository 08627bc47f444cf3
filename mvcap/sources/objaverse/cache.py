"""The folder in which the `objaverse` library keeps what it downloads; what it lacks comes from the hub.

    ROOT/object-paths.json.gz          uid -> glbs/000-023/<uid>.glb
    ROOT/lvis-annotations.json.gz      LVIS category -> uids
    ROOT/metadata/000-023.json.gz      uid -> annotation, of the objects in glbs/000-023
    ROOT/glbs/000-023/<uid>.glb

The names are those of version 0.1.7 of the library. What is there is used as it is.
"""

import gzip
import json
import zlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

from mvcap.downloads import HubDataset
from mvcap.errors import AssetFolderError

OBJECT_PATHS: Final = "object-paths.json.gz"
LVIS: Final = "lvis-annotations.json.gz"
FETCHING_THREADS: Final = 4


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache folder, and where what it lacks comes from."""

    root: Path
    dataset: HubDataset | None
    """None where nothing may be downloaded."""

    def object_paths(self) -> dict[str, str]:
        """Map every uid of Objaverse to its file's path below the root, as it is written: see `shard_of`.

        Raises:
            MvcapError: the file can neither be read nor fetched.
        """
        return self._read(OBJECT_PATHS)

    def lvis(self) -> dict[str, list[str]]:
        """Map every LVIS category to its objects.

        Raises:
            MvcapError: the file can neither be read nor fetched.
        """
        return self._read(LVIS)

    def annotations(self, shard: str) -> dict[str, dict[str, Any]]:
        """Map the uids of one folder of objects to what Sketchfab says about them.

        Raises:
            MvcapError: the file can neither be read nor fetched.
        """
        return self._read(f"metadata/{shard}.json.gz")

    def fetch_annotations(self, shards: Collection[str]) -> None:
        """Fetch the annotations of several folders that are not there yet, some at a time, with a bar on a
        terminal.

        Raises:
            MvcapError: one cannot be fetched.
        """
        names = [f"metadata/{shard}.json.gz" for shard in shards]
        missing = [name for name in names if not (self.root / name).exists()]
        bar: Any = partial(tqdm, desc="annotations of Objaverse", disable=None if missing else True)
        with ThreadPoolExecutor(FETCHING_THREADS) as pool, bar(total=len(missing)) as shown:
            for _ in pool.map(self._ensure, missing):
                shown.update()

    def _read(self, name: str) -> dict[str, Any]:
        path = self._ensure(name)
        try:
            with gzip.open(path, "rb") as file:
                content = json.load(file)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise AssetFolderError(
                f"{path} is damaged ({error}); delete it, and it is fetched again"
            ) from error
        if not isinstance(content, dict):
            raise AssetFolderError(f"{path} does not hold a JSON object; delete it, and it is fetched again")
        return content

    def _ensure(self, name: str) -> Path:
        path = self.root / name
        if path.exists():
            return path
        if self.dataset is None:
            raise AssetFolderError(f"there is no {path}: give the folder that holds it, or allow download")
        return self.dataset.fetch(name, path)


def shard_of(object_path: object) -> str | None:
    """Return the folder of an object's path, `000-023` of `glbs/000-023/<uid>.glb`; None of anything else.

    A uid is any text, and so may be a path: it must stay below `glbs`.
    """
    if not isinstance(object_path, str) or not object_path.isprintable() or "\\" in object_path:
        return None
    path = PurePosixPath(object_path)
    inside = len(path.parts) == 3 and path.parts[0] == "glbs" and path.suffix == ".glb"
    return path.parts[1] if inside and ".." not in path.parts else None
