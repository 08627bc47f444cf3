"""The vision tower as LLaVA takes it: a CLIPVisionModel with its image processor."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import transformers

from mvcap.errors import UsageError
from mvcap.quiet import quiet_transformers
from training.export.transformers import save_for_transformers
from training.finished import open_tuned
from training.runs import read_facts


def export(run: Path, folder: Path, *, interpolate: float) -> None:
    """Write a folder for `CLIPVisionModel.from_pretrained(FOLDER)`, LLaVA's `mm_vision_tower`.

    VIFormer is left out: LLaVA reads the patches of a hidden layer, which it does not touch.

    Raises:
        UsageError: a BLIP was tuned, or a model of open_clip's that CLIPModel cannot hold.
    """
    backend = read_facts(run)["model"]["backend"]
    if backend not in ("open_clip", "hf_clip"):
        raise UsageError(f"LLaVA takes the vision tower of a CLIP, and {run} tuned a model of {backend}")
    student = open_tuned(run, interpolate=interpolate)
    library: Any = transformers
    with TemporaryDirectory() as whole, quiet_transformers():
        save_for_transformers(student, backend, Path(whole))
        library.CLIPVisionModel.from_pretrained(whole).save_pretrained(folder)
        library.AutoImageProcessor.from_pretrained(whole, backend="pil").save_pretrained(folder)
