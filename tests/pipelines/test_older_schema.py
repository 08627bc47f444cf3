"""A dataset that an older mvcap wrote opens; what cannot be done with it says what to do.

`tests/doubles/schema_3.py` writes it. A dataset that the last mvcap of schema 3 had really built went through
the same commands with the same results (2026-11-28).
"""

import runpy
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mvcap
from mvcap.cli.app import app
from mvcap.commits import CAPTION, RENDER
from mvcap.errors import ConfigChangedError
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.merging import merge_datasets
from pipelines.removing import remove_objects
from pipelines.runners.local import LocalRunner
from pipelines.status import dataset_status
from pipelines.todo import Request

AGE = runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "schema_3.py"))["age"]


def run(config, out, **request):
    return build(config, Request(out, **request), LocalRunner(drop_views=True), lambda _: None)


@pytest.fixture(scope="module")
def original(tmp_path_factory, write_models, fake_config):
    """A dataset of schema 3 and its configuration: three objects with views, one that failed."""
    folder = tmp_path_factory.mktemp("old")
    models = write_models(folder / "models", "chairs/a", "chairs/b", "cups/c", "cups/d")
    config = fake_config(models, render__options__fail="{cups/d: crash}")
    run(config, folder / "out")
    return config, AGE(folder / "out")


@pytest.fixture
def old(original, tmp_path):
    config, out = original
    return config, Path(shutil.copytree(out, tmp_path / "out"))


def test_every_file_and_record_says_that_it_is_of_schema_3(old):
    _, out = old
    tables = [path for path in out.rglob("*.parquet") if "logs" not in path.parts]
    assert len(tables) == 5
    assert {pq.read_schema(path).metadata[b"mvcap_schema"] for path in tables} == {b"3"}
    store = Store(out)
    commits = [store.read_commit(stage, index) for stage in (RENDER, CAPTION) for index in range(2)]
    assert {commit.schema_version for commit in commits if commit} == {3}
    assert all(commit and commit.rendered is None and not commit.object_seconds for commit in commits)


def test_it_opens(old):
    _, out = old
    views = mvcap.open(out)
    assert (len(views), views.categories) == (9, ["chairs", "cups"])
    view = views[0]
    assert (view["image"].size, view["duplicate_of"]) == ((32, 32), None)
    assert view["category"] in view["caption"]


def test_it_is_whole_and_counted_and_shown(old):
    _, out = old
    assert verify_dataset(out, deep=True) == []
    state = dataset_status(out)
    assert (state["objects"], state["views"], state["failures"]) == (4, 9, {"crash": 1})
    shown = CliRunner().invoke(app, ["report", str(out)])
    assert shown.exit_code == 0
    assert (out / "report/index.html").stat().st_size > 10_000


def test_a_broken_shard_of_it_is_found(old):
    _, out = old
    victim = min((out / "data").glob("*.parquet"))
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    assert [problem.message for problem in verify_dataset(out, deep=True, mark=False)] == [
        "has another content than its commit's checksum"
    ]


def test_building_on_is_refused_with_what_to_do(old):
    config, out = old
    with pytest.raises(ConfigChangedError) as refused:
        run(config, out)
    assert "schema: 3 -> 4" in str(refused.value)
    assert "build into another folder with --out, or go on with the mvcap that wrote schema 3" in str(
        refused.value
    )


def test_captioning_is_refused_with_what_to_do_which_then_works(old):
    config, out = old
    with pytest.raises(ConfigChangedError, match=r"`mvcap caption \S+ --recaption`"):
        run(config, out, render=False)
    assert run(config, out, render=False, recaption=True).views == 9
    assert {pq.read_schema(path).metadata[b"mvcap_schema"] for path in (out / "data").iterdir()} == {b"4"}
    assert verify_dataset(out, deep=True) == []


def test_records_of_joined_shards_say_of_which_schema_their_files_still_are(old, tmp_path):
    _, out = old
    copy = Path(shutil.copytree(out, tmp_path / "copy"))
    merge_datasets([out, copy], tmp_path / "joined", lambda _: None)
    store = Store(tmp_path / "joined")
    commits = [store.find_commit(CAPTION, shard) for shard in store.require_plan().shards]
    kinds = [pq.read_schema(store.root / commit.file) for commit in commits]
    assert {kind.metadata[b"mvcap_schema"] for kind in kinds} == {b"3"}
    assert {commit.schema_version for commit in commits} == {3}
    assert verify_dataset(store.root, deep=True) == []


def test_an_object_can_be_taken_out(old):
    config, out = old
    uid = mvcap.open(out).objects[0].uid
    assert remove_objects(config, out, [uid], "licence withdrawn", lambda _: None).views == 6
    assert uid not in {item.uid for item in mvcap.open(out).objects}
    assert verify_dataset(out, deep=True) == []
