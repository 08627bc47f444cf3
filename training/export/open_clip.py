"""Stock weights: what the model's own library loads, for open_clip and transformers alike."""

from pathlib import Path

from mvcap.errors import UsageError
from training.export.extra import write_viformer
from training.finished import open_tuned
from training.runs import read_facts


def export(run: Path, folder: Path, *, interpolate: float) -> None:
    """Write a folder for `open_clip.create_model_and_transforms("local-dir:FOLDER")`.

    Raises:
        UsageError: the model is not one of open_clip's.
    """
    backend = read_facts(run)["model"]["backend"]
    if backend != "open_clip":
        raise UsageError(f"{run} tuned a model of {backend}: export it as --format transformers")
    student = open_tuned(run, interpolate=interpolate)
    student.encoder.save(folder)
    write_viformer(student, folder)
