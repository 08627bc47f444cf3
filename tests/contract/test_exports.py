"""What every export format owes: strict options, a new folder, all committed views, the dataset untouched."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mvcap import plugins
from pipelines.build_all import Request, build
from pipelines.exporting import export_dataset
from pipelines.runners.local import LocalRunner

FORMATS = plugins.names("mvcap.exports")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FORMATS)
def test_options_are_strict_and_complete_by_default(name: str):
    options = plugins.options_model("mvcap.exports", name)
    assert options()
    with pytest.raises(ValidationError):
        options(no_such_option=1)


@pytest.mark.parametrize("name", FORMATS)
def test_every_view_is_written_and_the_dataset_stays_as_it_is(name: str, models, fake_config, tmp_path):
    dataset, out = tmp_path / "dataset", tmp_path / "out"
    build(fake_config(models("chair/a", "cup/b")), Request(dataset), LocalRunner(), lambda _: None)
    before = contents(dataset)
    assert export_dataset(dataset, name.replace("_", "-"), out) == 6
    assert contents(out)
    assert contents(dataset) == before
