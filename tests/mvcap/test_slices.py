import pytest

from mvcap.errors import UsageError
from mvcap.slices import parse_slice, slurm_slice


def array(task: int, count: int, **more: int) -> dict[str, str]:
    numbers = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": count, **more}
    return {name: str(number) for name, number in numbers.items()}


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        (array(3, 8), (3, 8)),
        (array(1, 8, SLURM_ARRAY_TASK_MIN=1), (0, 8)),
        (array(8, 8, SLURM_ARRAY_TASK_MIN=1), (7, 8)),
        (array(6, 4, SLURM_ARRAY_TASK_MIN=2, SLURM_ARRAY_TASK_STEP=2), (2, 4)),
        ({}, None),
        ({"SLURM_ARRAY_TASK_ID": "3"}, None),
        ({"SLURM_JOB_ID": "7"}, None),
    ],
)
def test_task_of_an_array_is_a_slice(environment: dict[str, str], part: tuple[int, int] | None):
    assert slurm_slice(environment) == part


@pytest.mark.parametrize("numbers", [(0, 10, 0, 1), (1, 8, 1, 1), (0, 14, 0, 2), (3, 21, 3, 3)])
def test_tasks_of_an_array_are_all_slices_and_no_two_the_same(numbers: tuple[int, int, int, int]):
    first, last, least, step = numbers
    tasks = range(first, last + 1, step)
    more = {"SLURM_ARRAY_TASK_MIN": least, "SLURM_ARRAY_TASK_STEP": step}
    slices = [slurm_slice(array(task, len(tasks), **more)) for task in tasks]
    assert slices == [(position, len(tasks)) for position in range(len(tasks))]


@pytest.mark.parametrize(
    "environment",
    [
        array(9, 3, SLURM_ARRAY_TASK_MIN=1),
        array(3, 4, SLURM_ARRAY_TASK_MIN=0, SLURM_ARRAY_TASK_STEP=2),
        {"SLURM_ARRAY_TASK_ID": "three", "SLURM_ARRAY_TASK_COUNT": "8"},
    ],
    ids=["a list such as 1,5,9", "between two steps", "no number"],
)
def test_array_that_does_not_tell_the_slice_is_refused(environment: dict[str, str]):
    with pytest.raises(UsageError, match="give --shard"):
        slurm_slice(environment)


@pytest.mark.parametrize("text", ["8/8", "1/0", "a/b", "-1/4", "1/4/2", "", "٣/٨"])
def test_what_is_no_slice_is_refused(text: str):
    with pytest.raises(UsageError, match="must be K/N"):
        parse_slice(text)
    assert parse_slice("0/8") == (0, 8)
