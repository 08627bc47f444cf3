"""What every export format owes: strict options, the chosen views and their licences, whole or nothing."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mvcap import files, plugins
from mvcap.errors import CorruptDatasetError, UsageError
from mvcap.exports._chosen import Choice
from pipelines.build_all import build
from pipelines.exporting import export_dataset, export_formats
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

MODULES = plugins.names("mvcap.exports")
FORMATS = export_formats()
HOSTILE = (
    "../../up",
    "a/b\\c",
    "x" * 300,
    "con",
    "Chair",
    "chair",
    ".hidden",
    'say "hi"\nthere',
    "<b>&amp;</b>",
)
DIES_AT_THE_SECOND_PICTURE = """
import os, signal, sys
from pathlib import Path
from mvcap.exports._chosen import ChosenViews
from pipelines.exporting import export_dataset
read = ChosenViews.tables
def dying(self, columns=None):
    for number, table in enumerate(read(self, columns)):
        if number == 1 and "image" in table.column_names:
            os.kill(os.getpid(), signal.SIGKILL)
        yield table
ChosenViews.tables = dying
export_dataset(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
"""


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def credited(out: Path) -> set[str]:
    return {row["uid"] for row in pq.read_table(out / "objects.parquet").to_pylist()}


@pytest.fixture
def dataset(models, fake_config, tmp_path):
    """Make a dataset of two objects with three views each; `changes` are settings."""

    def make(*names: str, **changes: str) -> Path:
        config = fake_config(models(*(names or ("chair/a", "cup/b"))), **changes)
        build(config, Request(tmp_path / "dataset"), LocalRunner(), lambda _: None)
        return tmp_path / "dataset"

    return make


@pytest.fixture
def labelled(models, tmp_path):
    """Write the labels of the models a, b, ... : a category and a licence each."""

    def write(*labels: tuple[str, str]) -> list[str]:
        folder = models()
        folder.mkdir(exist_ok=True)
        names = [chr(ord("a") + place) for place in range(len(labels))]
        with (folder / "labels.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["path", "category", "license", "creator"])
            table.writerows((f"{name}.obj", *label, "Ada") for name, label in zip(names, labels, strict=True))
        return names

    return write


@pytest.mark.parametrize("name", MODULES)
def test_options_are_strict_and_complete_by_default(name: str):
    options = plugins.options_model("mvcap.exports", name)
    assert options()
    with pytest.raises(ValidationError):
        options(no_such_option=1)


@pytest.mark.parametrize("name", FORMATS)
def test_every_view_is_written_and_the_dataset_stays_as_it_is(name: str, dataset, tmp_path):
    root, out = dataset(), tmp_path / "out"
    before = contents(root)
    assert export_dataset(root, name, out) == 6
    assert credited(out) == {row["uid"] for row in pq.read_table(root / "objects.parquet").to_pylist()}
    assert contents(root) == before


@pytest.mark.parametrize("name", FORMATS)
def test_a_split_is_exported_alone_and_only_its_creators_are_named(name: str, dataset, tmp_path):
    root = dataset(*(f"chair/{n}" for n in range(6)), plan__splits="{train: 0.5, test: 0.5}")
    rows = pq.read_table(root / "objects.parquet").to_pylist()
    wanted = {row["uid"] for row in rows if row["split"] == "test"}
    assert 0 < len(wanted) < 6
    assert export_dataset(root, name, tmp_path / "out", choice=Choice("test")) == 3 * len(wanted)
    assert credited(tmp_path / "out") == wanted
    with pytest.raises(UsageError, match=r"no views of split 'val' \(splits: test, train\)"):
        export_dataset(root, name, tmp_path / "none", choice=Choice("val"))


@pytest.mark.parametrize("name", FORMATS)
def test_only_objects_under_the_given_licences_are_exported(name: str, dataset, labelled, tmp_path):
    root = dataset(*labelled(("cup", "CC0-1.0"), ("cup", "CC-BY-4.0"), ("cup", "CC-BY-NC-4.0"), ("cup", "")))
    free = Choice(licenses=frozenset({"cc0-1.0", "CC-BY-4.0"}))
    assert export_dataset(root, name, tmp_path / "free", choice=free) == 6
    exported = pq.read_table(tmp_path / "free" / "objects.parquet").to_pylist()
    assert {row["license"] for row in exported} == {"CC0-1.0", "CC-BY-4.0"}
    unknown = Choice(licenses=frozenset({"unknown"}))
    assert export_dataset(root, name, tmp_path / "unknown", choice=unknown) == 3
    present = r"no views under MIT \(licences: CC-BY-4.0, CC-BY-NC-4.0, CC0-1.0, unknown\)"
    with pytest.raises(UsageError, match=present):
        export_dataset(root, name, tmp_path / "none", choice=Choice(licenses=frozenset({"MIT"})))


@pytest.mark.parametrize("name", FORMATS)
def test_lookalikes_can_be_left_out(name: str, dataset, tmp_path):
    root = dataset("cup/a", "cup/b", "cup/c", render__options__like="{cup/a: box, cup/c: box}")
    alike = [row for row in pq.read_table(root / "objects.parquet").to_pylist() if row["duplicate_of"]]
    assert len(alike) == 1
    assert export_dataset(root, name, tmp_path / "out", choice=Choice(duplicates=False)) == 6
    assert alike[0]["uid"] not in credited(tmp_path / "out")


@pytest.mark.parametrize("name", FORMATS)
def test_no_category_leaves_the_folder_or_is_lost(name: str, dataset, labelled, tmp_path):
    root = dataset(*labelled(*((category, "CC0-1.0") for category in HOSTILE)))
    before = set(tmp_path.iterdir())
    assert export_dataset(root, name, tmp_path / "out") == 3 * len(HOSTILE)
    assert set(tmp_path.iterdir()) == before | {tmp_path / "out"}
    paths = [path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")]
    assert len({str(path).casefold() for path in paths}) == len(paths)
    assert all(part.isprintable() and not part.startswith(".") for path in paths for part in path.parts)


@pytest.mark.parametrize("name", FORMATS)
def test_a_failed_export_leaves_nothing(name: str, dataset, tmp_path):
    root = dataset("cup/a", "cup/b", plan__objects_per_shard="1")
    victim = max((root / "data").glob("*.parquet"))
    damaged = bytearray(victim.read_bytes())
    damaged[damaged.index(b"\xff\xd8\xff") + 20] ^= 1  # inside the first picture, a JPEG
    victim.write_bytes(damaged)
    before = set(tmp_path.iterdir())
    with pytest.raises(CorruptDatasetError, match="run `mvcap verify`"):
        export_dataset(root, name, tmp_path / "out")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_a_killed_export_has_no_name_and_the_next_one_clears_it_away(name: str, dataset, tmp_path):
    root, out = dataset(), tmp_path / "out"
    before = set(tmp_path.iterdir())
    command = [sys.executable, "-c", DIES_AT_THE_SECOND_PICTURE, str(root), name, str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [path.name.startswith(files.TEMPORARY) for path in set(tmp_path.iterdir()) - before] == [True]
    assert export_dataset(root, name, out) == 6
    assert set(tmp_path.iterdir()) == before | {out}
