"""Tuned models for other libraries, one file for each layout.

`open_clip.py`: stock weights. `transformers.py`: a CLIPModel's folder. `peft.py`: the low-rank additions
alone. `llava.py`: the vision tower. Each has `export(run, folder, *, interpolate)`.
"""

import shutil
from pathlib import Path

from mvcap import files, plugins
from mvcap.errors import OutputError, UsageError
from training.finished import require_share
from training.tensor_files import errors_of_the_system

PACKAGE = "training.export"
LAYOUTS = ("llava", "open_clip", "peft", "transformers")


def export_model(run: Path, folder: Path, layout: str, *, interpolate: float = 1.0) -> None:
    """Write a run's model into a new folder, whole or not at all.

    Args:
        interpolate: see `training.finished.open_tuned`.

    Raises:
        UsageError: no such layout, or the model cannot be held by it.
        OutputError: the folder holds something already, or cannot be written.
        DiskFullError: there is no room.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout {layout!r} (valid: {', '.join(LAYOUTS)})")
    require_share(interpolate)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(f"{folder} holds something already; give a new folder")
    files.require_writable(folder.parent)
    temporary = files.temporary_name(folder)
    try:
        with files.disk_full_explained(folder), errors_of_the_system():
            plugins.load(PACKAGE, layout).export(run, temporary, interpolate=interpolate)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
