"""What every source owes the pipeline; a new file in `mvcap/sources/` is tested the moment it exists."""

import gzip
import inspect
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from mvcap import plugins, schema
from mvcap.commits import Commit
from mvcap.errors import FetchError, UsageError
from mvcap.files import json_bytes
from mvcap.plan import make_uid
from mvcap.records import Rejected, SelectedObject

SOURCES = plugins.names("mvcap.sources")


def folder_sample(root: Path) -> dict[str, Any]:
    (root / "chairs").mkdir()
    (root / "chairs" / "a.glb").write_bytes(b"x")
    (root / "stul \u0441\u0442\u0443\u043b.obj").write_bytes(b"x")
    (root / "labels.csv").write_text("path,category\nchairs/a.glb,chair\ngone.glb,chair\n")
    return {"path": str(root)}


def sh3f_sample(root: Path) -> dict[str, Any]:
    properties = "license=CC-0\nid#1=Blend Swap CC-0#bench\nname#1=Bench\nmodel#1=/bench.obj\n"
    with zipfile.ZipFile(root / "Test.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", properties)
        archive.writestr("bench.obj", b"v 0 0 0")
    return {"path": str(root), "selection": "demo"}


def images_sample(root: Path) -> dict[str, Any]:
    (root / "a.jpg").write_bytes(b"x")
    (root / "\u0441\u0442\u0443\u043b.png").write_bytes(b"x")
    table = "file_name,category,uid\na.jpg,chair,1\n\u0441\u0442\u0443\u043b.png,chair,\n../gone.jpg,chair,\n"
    (root / "metadata.csv").write_text(table)
    return {"path": str(root)}


def objaverse_sample(root: Path) -> dict[str, Any]:
    """A cache of the library without models; a lone surrogate and a path are uids as well."""
    paths = {"a1": "glbs/000-001/a1.glb", "../b": "glbs/../b.glb", "c": "glbs/000-001/c.glb"}
    annotations = {"a1": {"uid": "a1", "name": "", "license": "by"}, "c": {"uid": "c", "name": "\ud800"}}
    lvis = {"armchair": ["a1"], "bow_(weapon)": ["../b", "\udcff"], "ring_(jewelry)": ["c"]}
    (root / "metadata").mkdir()
    files = {"object-paths": paths, "lvis-annotations": lvis, "metadata/000-001": annotations}
    for name, content in files.items():
        (root / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    return {"path": str(root), "download": False}


SAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "folder": folder_sample,
    "images": images_sample,
    "objaverse": objaverse_sample,
    "sh3f": sh3f_sample,
}
"""For each source: fill an empty folder with a few objects, and return the options that list them."""


@pytest.fixture(params=SOURCES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sample(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseModel:
    """The options of a source over a small sample of its own format."""
    assert name in SAMPLES, f"add a sample of {name!r} to SAMPLES in {Path(__file__).name}"
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "sample").mkdir()
    return plugins.options_model("mvcap.sources", name).model_validate(SAMPLES[name](tmp_path / "sample"))


def list_sample(name: str, sample: BaseModel) -> list[SelectedObject | Rejected]:
    return list(plugins.load("mvcap.sources", name).list_objects(sample))


def test_options_are_frozen_strict_and_described(name: str):
    options = plugins.options_model("mvcap.sources", name)
    assert issubclass(options, BaseModel)
    assert options.__name__ == "Options"
    assert options.__doc__
    assert options.model_config.get("extra") == "forbid"
    assert options.model_config.get("frozen") is True


def test_an_unknown_option_is_refused(name: str, sample: BaseModel):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(sample).model_validate(sample.model_dump() | {"no_such_option": 1})


def test_options_survive_the_configuration_file_of_a_dataset(sample: BaseModel):
    assert type(sample).model_validate(sample.model_dump(mode="json")) == sample


def test_the_module_says_what_it_reads_and_lists_with_one_argument(name: str):
    source = plugins.load("mvcap.sources", name)
    assert source.__doc__
    assert source.list_objects.__doc__
    (parameter,) = inspect.signature(source.list_objects).parameters.values()
    assert parameter.annotation in (source.Options, "Options")


def test_importing_a_source_is_light_and_touches_nothing(name: str, tmp_path: Path):
    code = (
        f"import sys, mvcap.sources.{name}\n"
        "heavy = {'torch', 'ray', 'bpy', 'transformers', 'pyarrow', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {"HOME": str(tmp_path), "MVCAP_CACHE": str(tmp_path / "cache")}
    if path := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = path
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert list(tmp_path.iterdir()) == []


def test_every_item_is_an_object_or_a_reason_and_has_a_uid_of_its_own(name: str, sample: BaseModel):
    items = list_sample(name, sample)
    assert any(isinstance(item, SelectedObject) for item in items)
    assert all(isinstance(item, SelectedObject | Rejected) for item in items)
    assert len({item.uid for item in items}) == len(items)
    assert {item.stage for item in items if isinstance(item, Rejected)} <= {"list"}


def test_objects_are_complete(name: str, sample: BaseModel):
    for item in list_sample(name, sample):
        if isinstance(item, SelectedObject):
            record = item.record
            assert record.source == name
            assert record.uid == make_uid(name, record.source_id)
            assert Path(record.asset).is_absolute()
            assert Path(record.asset).is_file() or hasattr(
                plugins.load("mvcap.sources", name), "open_fetcher"
            ), "a model that is not there must be fetched"
            assert item.category.strip() == item.category != ""
            assert record.name
            assert record.rotation is None or len(record.rotation) == 9


def test_a_source_that_fetches_keeps_the_promises_of_a_fetcher(name: str, sample: BaseModel):
    source = plugins.load("mvcap.sources", name)
    if not hasattr(source, "open_fetcher"):
        pytest.skip("its models are on disk")
    fetcher = source.open_fetcher(sample)
    objects = [item for item in list_sample(name, sample) if isinstance(item, SelectedObject)]
    missing = [item for item in objects if not Path(item.record.asset).exists()]
    assert missing, "let the sample list a model that is not there and cannot be had"
    fetcher.check([])
    with pytest.raises(FetchError):
        fetcher.fetch(missing[0])
    assert pickle.dumps(sample)  # options travel to workers


def test_objects_and_rejections_can_be_stored(name: str, sample: BaseModel):
    import pyarrow as pa

    items = list_sample(name, sample)
    objects = [item for item in items if isinstance(item, SelectedObject)]
    rows = [schema.planned_row(item, 0) for item in objects]
    table = pa.Table.from_pylist(rows, schema=schema.PLANNED_SCHEMA)
    assert [schema.planned_from_row(row) for row in table.to_pylist()] == objects
    rejected = tuple(item for item in items if isinstance(item, Rejected))
    assert json_bytes(Commit("render", 0, "s", rejected=rejected).to_json())


def test_listing_twice_gives_the_same(name: str, sample: BaseModel):
    assert list_sample(name, sample) == list_sample(name, sample)


def test_a_missing_place_is_a_usage_error_with_a_next_step(name: str, sample: BaseModel, tmp_path: Path):
    if "path" not in type(sample).model_fields:
        pytest.skip("this source reads no place on disk")
    options = sample.model_copy(update={"path": tmp_path / "missing"})
    with pytest.raises(UsageError, match="missing"):
        list_sample(name, options)
