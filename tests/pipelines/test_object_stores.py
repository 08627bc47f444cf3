"""The whole pipeline with its dataset on S3, with the fake renderer and captioner, over real HTTP."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from s3fs import S3FileSystem

import mvcap
from mvcap import files
from mvcap.commits import CAPTION, RENDER
from mvcap.config import Config
from mvcap.errors import LockLostError, OutputError, UsageError
from mvcap.learnable import learnable_uids
from mvcap.places import ObjectPlace, Place
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines import build_all
from pipelines.build_all import build
from pipelines.exporting import export_dataset
from pipelines.runners.local import LocalRunner
from pipelines.status import dataset_status
from pipelines.surveying import Outcome
from pipelines.todo import Request

pytestmark = pytest.mark.slow

NAMES = ("chairs/a", "chairs/b", "cups/c")
VIEWS = 9

Models = Callable[..., Path]
Configure = Callable[..., Config]


def run(config: Config, out: Place, **request: Any) -> Outcome:
    return build(
        config, Request(out, **request), LocalRunner(drop_views=not config.run.keep_views), lambda _: None
    )


def rows(out: Place) -> list[dict[str, Any]]:
    """Every row, as a reader sees it who looks at the data alone."""
    data = [place for place in files.list_files(out / "data") if place.suffix == ".parquet"]
    tables = []
    for place in data:
        with files.open_input(place) as source:
            tables.append(pq.read_table(source))
    return [row for table in tables for row in table.to_pylist()]


def keys(out: Place) -> list[str]:
    return [str(place).removeprefix(f"{out}/") for place in files.list_files(out)]


@pytest.fixture
def out(s3: Any) -> ObjectPlace:
    return ObjectPlace(s3.bucket, "sets/one")


def test_a_dataset_in_storage_is_the_one_in_a_folder_and_holds_no_secret(
    models: Models, fake_config: Configure, tmp_path: Path, out: ObjectPlace, s3_double: Any
):
    config, folder = fake_config(models(*NAMES)), tmp_path / "folder"
    assert run(config, out) == run(config, folder)
    assert rows(out) == rows(folder)
    assert verify_dataset(out, deep=True) == []
    assert [key for key in keys(out) if "/lease/" not in key] == [
        key for key in keys(folder) if not (key.endswith("lock") or "/logs/" in key)
    ]
    for place in files.list_files(out):
        content = files.read_bytes(place)
        assert s3_double.SECRET_KEY.encode() not in content, place
        assert s3_double.ACCESS_KEY.encode() not in content, place


def test_pandas_pyarrow_datasets_and_mvcap_read_it(
    models: Models,
    fake_config: Configure,
    tmp_path: Path,
    out: ObjectPlace,
    s3: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    run(fake_config(models(*NAMES)), out)
    expected = [(row["uid"], row["view_index"], row["caption"]) for row in rows(out)]
    columns = ["uid", "view_index", "caption"]

    file = f"{out}/data/train-00000-of-00002.parquet"
    table = pd.read_parquet(
        file, columns=columns, storage_options={"client_kwargs": {"endpoint_url": s3.url}}
    )
    assert list(table.itertuples(index=False, name=None)) == expected[: len(table)]
    read = pads.dataset(f"{out.bucket}/{out.key}/data", filesystem=S3FileSystem(), format="parquet")
    assert [tuple(row.values()) for row in read.to_table(columns=columns).to_pylist()] == expected
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    loaded = datasets.load_dataset(
        "parquet", data_files={"train": f"{out}/data/train-*.parquet"}, split="train", cache_dir=str(tmp_path)
    )
    assert [tuple(row[name] for name in columns) for row in loaded] == expected
    assert loaded[0]["image"].size == (32, 32)
    opened = mvcap.open(str(out))
    assert len(opened) == len(expected)
    assert opened[0]["image"].size == (32, 32)
    assert learnable_uids(out) == {uid for uid, _, _ in expected}


def test_a_finished_build_puts_nothing_but_the_lease_and_its_probe(
    models: Models, fake_config: Configure, out: ObjectPlace, s3: Any
):
    config = fake_config(models(*NAMES))
    run(config, out)
    s3.requests.clear()
    run(config, out)
    written = {request.key for method in ("PUT", "POST", "DELETE") for request in s3.seen(method)}
    assert {key.removeprefix(f"{out.key}/_mvcap/lease/").partition("-")[0] for key in written} == {
        "register", "beat", f"{out.key}/.attempt",
    }  # fmt: skip
    assert not s3.seen("GET", "/data/")


def test_rendering_captioning_status_and_export_work_one_after_the_other(
    models: Models, fake_config: Configure, tmp_path: Path, out: ObjectPlace
):
    config = fake_config(models(*NAMES))
    run(config, out, caption=False)
    assert {row["caption"] for row in rows(out)} == {None}
    for part in ((0, 2), (1, 2)):
        run(config, out, render=False, part=part)
    assert all(row["caption"] for row in rows(out))
    assert not [key for key in keys(out) if "/views/" in key or "/attempts/" in key]
    state = dataset_status(out)
    assert (state["dataset"], state["complete"], state["views"], state["at_work"]) == (
        str(out),
        True,
        VIEWS,
        [],
    )
    assert export_dataset(out, "mvcap-json", tmp_path / "export") == VIEWS
    assert (tmp_path / "export/objects.parquet").read_bytes() == files.read_bytes(out / "objects.parquet")


def test_captions_are_replaced_by_the_next_generation(
    models: Models, fake_config: Configure, out: ObjectPlace
):
    folder = models(*NAMES)
    run(fake_config(folder), out)
    before = rows(out)
    run(fake_config(folder, captions__prompt="Describe the {category}."), out, render=False, recaption=True)
    after = rows(out)
    assert {row["prompt"] for row in before}.isdisjoint(row["prompt"] for row in after)
    assert [row["image"] for row in after] == [row["image"] for row in before]
    commit = Store(out).read_commit(CAPTION, 0)
    assert commit
    assert commit.generation == 1
    assert verify_dataset(out, deep=True) == []


def test_a_changed_byte_is_found_and_the_next_run_makes_that_shard_anew(
    models: Models, fake_config: Configure, out: ObjectPlace
):
    config = fake_config(models(*NAMES))
    run(config, out)
    before = rows(out)
    victim = out / "data" / "train-00001-of-00002.parquet"
    content = bytearray(files.read_bytes(victim))
    content[len(content) // 3] ^= 1
    files.write_bytes(victim, bytes(content))
    files.write_bytes(out / "data" / "stray.parquet", b"not ours")
    problems = {problem.file: problem.message for problem in verify_dataset(out)}
    assert "another content than its commit" in problems["data/train-00001-of-00002.parquet"]
    assert problems["data/stray.parquet"] == "is not of this dataset"
    files.delete(out / "data" / "stray.parquet")
    assert not files.exists(victim)
    run(config, out)
    assert rows(out) == before
    assert verify_dataset(out, deep=True) == []


def test_a_record_whose_copy_was_never_made_is_followed_by_the_next_reader(
    models: Models,
    fake_config: Configure,
    out: ObjectPlace,
    monkeypatch: pytest.MonkeyPatch,
):
    config = fake_config(models(*NAMES), run__keep_views="true")

    class PowerCut(BaseException):
        pass

    def cut(source: Place, target: Place) -> None:
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(files, "move", cut)
        with pytest.raises(PowerCut):
            run(config, out)
    assert any("/attempts/.attempt-" in key for key in keys(out))
    assert not any(key.startswith("_mvcap/views/") for key in keys(out))
    store = Store(out)
    shards = store.require_plan().shards
    committed = [shard for shard in shards if store.read_commit(RENDER, shard.index)]
    assert committed
    assert all(store.find_commit(RENDER, shard) for shard in committed)
    assert any(key.startswith("_mvcap/views/") for key in keys(out))
    run(config, out)
    assert verify_dataset(out, deep=True) == []
    assert len(rows(out)) == VIEWS


def test_a_list_that_lags_hides_nothing_that_is_committed(
    models: Models, fake_config: Configure, out: ObjectPlace, s3: Any, tmp_path: Path
):
    s3.list_lag_s = 3600
    config = fake_config(models(*NAMES))
    run(config, out, caption=False)
    for part in ((0, 2), (1, 2)):
        run(config, out, render=False, part=part)
    assert keys(out) == []  # the double does its work
    assert verify_dataset(out, deep=True) == []
    assert dataset_status(out)["complete"]
    s3.list_lag_s = 0
    run(config, tmp_path / "folder")
    assert rows(out) == rows(tmp_path / "folder")


def test_a_driver_whose_dataset_was_taken_over_commits_nothing_more(
    models: Models,
    fake_config: Configure,
    out: ObjectPlace,
    monkeypatch: pytest.MonkeyPatch,
):
    """The other driver comes between the first shard and the second."""
    original = Store.commit
    committed: list[int] = []

    def take_over(store: Store, stage: Any, shard: Any, *arguments: Any, **facts: Any) -> Any:
        if committed and stage == RENDER:
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr("mvcap.owners._machine", lambda: "another")
                with Store(out).lock(steal=True):
                    return original(store, stage, shard, *arguments, **facts)
        commit = original(store, stage, shard, *arguments, **facts)
        committed.append(shard.index)
        return commit

    monkeypatch.setattr(Store, "commit", take_over)
    config = fake_config(models(*NAMES), run__render_workers="1")
    with pytest.raises(LockLostError, match="has lost its hold"):
        run(config, out, caption=False)
    found = [key for key in keys(out) if key.startswith("_mvcap/commits/render/")]
    assert found == [f"_mvcap/commits/render/{committed[0]:05d}.json"]


def test_refusals_come_before_any_work_and_tell_no_secret(
    models: Models,
    fake_config: Configure,
    out: ObjectPlace,
    s3: Any,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(build_all, "_run", None)  # any work would fail
    config = fake_config(models(*NAMES))
    with pytest.raises(OutputError, match="there is no bucket nobody-made-this"):
        run(config, ObjectPlace("nobody-made-this", "x"))
    with (
        s3.refusing("403 Forbidden", "AccessDenied", "PUT"),
        pytest.raises(OutputError, match="access is denied"),
    ):
        run(config, out)
    with pytest.raises(UsageError, match=r"`mvcap filter --out chosen\.parquet`"):
        run(config.model_copy(update={"filter": object()}), out)
    assert keys(out) == []
