"""What is left of a step whose loss or gradient was not finite: the pictures of its batch, by name."""

from collections.abc import Sequence
from pathlib import Path

from mvcap import files
from mvcap.errors import TrainingDivergedError
from training.objective import Parts


def divergence(
    run: Path, rank: int, step: int, pictures: Sequence[str], parts: Parts, gradient_norm: float
) -> TrainingDivergedError:
    """Write a file about a step, counted from 0, into the run's folder, and return the error to raise.

    Args:
        rank: of the process; each writes its own part of the batch.
        pictures: keys of that part.
    """
    path = run / f"diverged-step-{step + 1:08d}-rank-{rank}.json"
    terms = {name: str(float(value)) for name, value in parts.values.items()}
    told = {"step": step + 1, "gradient_norm": str(gradient_norm), "terms": terms, "pictures": [*pictures]}
    files.write_json(path, told)
    return TrainingDivergedError(
        f"step {step + 1}: the loss or its gradient is not finite ({terms}, gradient norm {gradient_norm}). "
        f"Its batch begins with {', '.join(pictures[:3])}; {path} lists all of it. The latest checkpoint is "
        "untouched: look at these pictures, or lower optimiser.learning_rate, and run again"
    )
