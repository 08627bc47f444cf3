"""A folder for transformers: CLIPModel, or BlipForImageTextRetrieval where BLIP was tuned."""

from pathlib import Path
from typing import Any

from mvcap.quiet import quiet_transformers
from training.export.clip_layout import to_transformers
from training.export.extra import write_viformer
from training.finished import open_tuned
from training.runs import read_facts
from training.student import Student


def export(run: Path, folder: Path, *, interpolate: float) -> None:
    """Write a folder for `CLIPModel.from_pretrained(FOLDER)`.

    Raises:
        UsageError: a model of open_clip's has parts that CLIPModel has not.
    """
    student = open_tuned(run, interpolate=interpolate)
    save_for_transformers(student, read_facts(run)["model"]["backend"], folder)
    write_viformer(student, folder)


def save_for_transformers(student: Student, backend: str, folder: Path) -> Any:
    """Write network, tokenizer and image processor; return the network in transformers' layout."""
    if backend != "open_clip":
        student.encoder.save(folder)
        return student.encoder.network
    network, others = to_transformers(student.encoder)
    with quiet_transformers():
        for part in (network, *others):
            part.save_pretrained(folder)
    return network
