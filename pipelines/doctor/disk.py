"""Room for the data, and for what lies beside it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mvcap.files import cache_folder
from pipelines.doctor.findings import Finding

LEAST_BYTES: Final = 2e9


def check_disk() -> Iterator[Finding]:
    places = (
        ("disk here", Path.cwd(), "free some, or give a folder on another disk with --out"),
        ("cache", cache_folder(), "free some, or set MVCAP_CACHE to a folder on another disk"),
        ("temporary files", Path(tempfile.gettempdir()), "free some, or set TMPDIR to a folder elsewhere"),
    )
    for name, folder, remedy in places:
        place = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(place, os.W_OK):
            yield Finding(name, False, f"{place} cannot be written", remedy)
            continue
        free = shutil.disk_usage(place).free
        detail = f"{free / 1e9:.0f} GB free at {folder}; `mvcap plan` says what a dataset takes"
        yield Finding(
            name, free >= LEAST_BYTES, detail if name == "disk here" else detail.split(";")[0], remedy
        )
