"""What `mvcap train` says to do next can be done."""

from pathlib import Path

import pytest

from mvcap.cli.training import _next_step
from mvcap.plan import Plan, extend_plan
from mvcap.records import ObjectRecord, SelectedObject
from mvcap.storage import Store


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({"test": 1.0}, "next: mvcap eval run --data '{data}'; 1 object that it has not seen"),
        ({"val": 1.0}, "next: mvcap eval run --data '{data}' --split val; 1 object that it has not seen"),
        ({"train": 1.0}, "next: mvcap eval run --data '{data}' --split train; {data} keeps no objects"),
    ],
)
def test_the_command_names_a_split_that_there_is(tmp_path, splits, told):
    data = tmp_path / "my data"
    item = SelectedObject(ObjectRecord("folder-a", "folder", "a", "a", "a", None, None, None), "chair")
    Store(data).write_plan(extend_plan(Plan(0, 2, splits), ["folder-a"]), [item], [])
    assert _next_step(Path("run"), data).startswith(told.format(data=data))
