"""Which slice of a dataset a command does: `--shard K/N`, or the task of a SLURM array."""

import re
from collections.abc import Mapping
from typing import Final

from mvcap.errors import UsageError
from mvcap.holds import Part

SLURM_TASK: Final = "SLURM_ARRAY_TASK_ID"
SLURM_COUNT: Final = "SLURM_ARRAY_TASK_COUNT"


def parse_slice(text: str) -> Part:
    """Read K/N.

    Raises:
        UsageError: it is not of that form, or K is not below N.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not match or int(match[1]) >= int(match[2]):
        raise UsageError(f"--shard {text} must be K/N with 0 <= K < N, such as 0/8 for the first of eight")
    return int(match[1]), int(match[2])


def slurm_slice(environment: Mapping[str, str]) -> Part | None:
    """Read the slice from the environment of a SLURM array's task; None outside an array.

    Tasks count from the array's lowest number on, in its steps: `--array=1-8` and `--array=0-14:2` are
    eight slices each.

    Raises:
        UsageError: the array's numbers are not evenly spaced, so that they do not tell the slice.
    """
    if SLURM_TASK not in environment or SLURM_COUNT not in environment:
        return None
    try:
        task, count = int(environment[SLURM_TASK]), int(environment[SLURM_COUNT])
        first = int(environment.get("SLURM_ARRAY_TASK_MIN", 0))
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", 0)) or 1
        position, rest = divmod(task - first, step)
    except ValueError as error:
        raise UsageError(f"the variables of this SLURM array are odd: {error}; give --shard") from error
    if rest or not 0 <= position < count:
        raise UsageError(
            f"{SLURM_TASK}={task} of {SLURM_COUNT}={count} tasks from {first} on does not tell which slice "
            "this is; use an array such as --array=0-7, or give --shard K/N"
        )
    return position, count
