"""What `mvcap train` says to do next can be done."""

from pathlib import Path

import pytest

from mvcap.cli.training import _next_step
from mvcap.plan import Plan, extend_plan
from mvcap.records import ObjectRecord, SelectedObject
from mvcap.storage import Store


def write_dataset(data: Path, splits: dict[str, float], categories: list[str]) -> None:
    items = [
        SelectedObject(ObjectRecord(f"folder-{n}", "folder", str(n), "a", "a", None, None, None), category)
        for n, category in enumerate(categories)
    ]
    Store(data).write_plan(extend_plan(Plan(0, 2, splits), [item.uid for item in items]), items, [])


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({"test": 1.0}, "next: mvcap eval run --data '{data}'; 2 objects that it has not seen"),
        ({"val": 1.0}, "next: mvcap eval run --data '{data}' --split val; 2 objects that it has not seen"),
        (
            {"train": 1.0},
            "next: mvcap eval run --data '{data}' --split train; {data} keeps no two categories",
        ),
    ],
)
def test_the_command_names_a_split_that_there_is(tmp_path, splits, told):
    data = tmp_path / "my data"
    write_dataset(data, splits, ["chair", "cup"])
    assert _next_step(Path("run"), data).startswith(told.format(data=data))


def test_a_split_of_one_category_is_not_proposed_for_there_is_nothing_to_tell_apart(tmp_path):
    write_dataset(tmp_path, {"test": 1.0}, ["chair", "chair"])
    assert f"--data {tmp_path} --split train; {tmp_path} keeps no two" in _next_step(Path("run"), tmp_path)
