"""Tuned models for other libraries, one file for each layout.

`open_clip.py`: stock weights. `transformers.py`: a CLIPModel's folder. `peft.py`: the low-rank additions
alone. `llava.py`: the vision tower. Each has `export(run, folder, *, interpolate)`.
"""

from pathlib import Path

from mvcap import plugins
from mvcap.errors import OutputError, UsageError

PACKAGE = "training.export"
LAYOUTS = ("llava", "open_clip", "peft", "transformers")


def export_model(run: Path, folder: Path, layout: str, *, interpolate: float = 1.0) -> None:
    """Write a run's model into a new folder.

    Args:
        interpolate: see `training.finished.open_tuned`.

    Raises:
        UsageError: no such layout, or the model cannot be held by it.
        OutputError: the folder holds something already.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"unknown layout {layout!r} (valid: {', '.join(LAYOUTS)})")
    if not 0 <= interpolate <= 1:
        raise UsageError(
            f"--interpolate {interpolate} is outside [0, 1]: 1 is the tuned model, 0 the pretrained"
        )
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} holds something already; give a new folder")
    plugins.load(PACKAGE, layout).export(run, folder, interpolate=interpolate)
