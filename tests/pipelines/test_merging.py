"""Joined datasets hold what each held, byte for byte, and are a dataset like any other."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mvcap
from mvcap import files
from mvcap.cli.app import app
from mvcap.commits import CAPTION
from mvcap.errors import CorruptDatasetError, DatasetLockedError, OutputError, UsageError
from mvcap.leaks import Leaks
from mvcap.places import ObjectPlace
from mvcap.removals import Removal
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.merging import merge_datasets
from pipelines.removing import remove_objects
from pipelines.runners.local import LocalRunner
from pipelines.status import dataset_status
from pipelines.todo import Request


def run(config, out, **request):
    return build(
        config, Request(out, **request), LocalRunner(drop_views=not config.run.keep_views), lambda _: None
    )


def merge(out: Path, *roots: Path, said: list[str] | None = None):
    return merge_datasets(roots, out, (said if said is not None else []).append)


def rows(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "data").glob("*.parquet"))]
    found = [row for table in tables for row in table]
    by_key = {(row["uid"], row["view_index"]): row for row in found}
    assert len(by_key) == len(found), "a row stands twice"
    return by_key


def snapshot(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def uid_of(out: Path, source_id: str) -> str:
    table = pq.read_table(out / "objects.parquet").to_pylist()
    (uid,) = (row["uid"] for row in table if row["source_id"] == source_id)
    return str(uid)


def make_in(folder: Path, fake_config, write_models):
    """Return what builds a dataset in a folder over models of the given names."""

    def make(name: str, *models: str, **changes: Any) -> Path:
        run(fake_config(write_models(folder / f"{name} models", *models), **changes), folder / name)
        return folder / name

    return make


@pytest.fixture
def make(fake_config, write_models, tmp_path):
    return make_in(tmp_path, fake_config, write_models)


@pytest.fixture(scope="module")
def pair(fake_config, write_models, tmp_path_factory):
    """Three shards of five objects, of which one failed; two shards of three objects. Not to be changed."""
    build_one = make_in(tmp_path_factory.mktemp("pair"), fake_config, write_models)
    fail = {"render__options__fail": "{cups/c: crash}"}
    one = build_one("one", "chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e", **fail)
    return one, build_one("two", "vases/f", "vases/g", "vases/h", **fail)


def test_it_holds_the_rows_of_both_in_shards_of_the_same_bytes(pair, tmp_path):
    before = [snapshot(root) for root in pair]
    outcome = merge(tmp_path / "both", *pair)
    assert (outcome.objects, outcome.done, outcome.views, outcome.complete) == (8, 7, 21, True)
    assert rows(tmp_path / "both") == rows(pair[0]) | rows(pair[1])
    data = tmp_path / "both/data"
    assert sorted(path.name for path in data.iterdir()) == [
        *(f"train-{index:05d}-of-00003.parquet" for index in range(3)),
        *(f"train-{index:05d}-of-00005.parquet" for index in (3, 4)),
    ]
    for name, source in (
        ("train-00001-of-00003.parquet", pair[0] / "data/train-00001-of-00003.parquet"),
        ("train-00003-of-00005.parquet", pair[1] / "data/train-00000-of-00002.parquet"),
    ):
        assert (data / name).samefile(source)  # one file, two names
    assert verify_dataset(tmp_path / "both", deep=True) == []
    assert [snapshot(root) for root in pair] == before


def test_on_another_file_system_the_files_are_copies(pair, tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr("mvcap.local_files.Path.hardlink_to", refuse, raising=True)
    monkeypatch.setattr(
        "mvcap.local_files._link_or_create", lambda _, path, content: path.write_bytes(content)
    )
    merge(tmp_path / "both", *pair)
    copy = tmp_path / "both/data/train-00003-of-00005.parquet"
    source = pair[1] / "data/train-00000-of-00002.parquet"
    assert not copy.samefile(source)
    assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(source.read_bytes()).digest()
    assert verify_dataset(tmp_path / "both", deep=True) == []


def test_the_same_merge_again_writes_nothing(pair, tmp_path):
    merge(tmp_path / "both", *pair)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "both").rglob("*")}
    merge(tmp_path / "both", *pair)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "both").rglob("*")} == before


def test_it_can_be_opened_shown_reported_shrunk_and_grown(pair, tmp_path, fake_config, write_models):
    out = tmp_path / "both"
    merge(out, *pair)
    views = mvcap.open(out)
    assert (len(views), views.categories) == (21, ["chairs", "cups", "lamps", "vases"])
    assert views.views(uid_of(out, "vases/h.obj"))[0]["image"].size == (32, 32)
    state = dataset_status(out)
    assert (state["objects"], state["failures"]) == (8, {"crash": 1})
    assert CliRunner().invoke(app, ["report", str(out)]).exit_code == 0
    folder = pair[0].parent
    both = [
        {"source": "folder", "options": {"path": str(folder / f"{name} models")}} for name in ("one", "two")
    ]
    more = {"source": "folder", "options": {"path": str(write_models(tmp_path / "more", "vases/new"))}}
    grown = fake_config(folder / "one models", render__options__fail="{cups/c: crash}", sources=[*both, more])
    assert run(grown, out).views == 24
    gone = uid_of(out, "vases/f.obj")
    remove_objects(grown, out, [gone], "licence withdrawn", lambda _: None)
    assert gone not in {uid for uid, _ in rows(out)}
    assert gone in {uid for uid, _ in rows(pair[1])}  # the joined one alone lost it
    assert verify_dataset(out, deep=True) == []
    assert verify_dataset(pair[1], deep=True) == []


@pytest.mark.parametrize("captioned_first", [True, False])
def test_views_without_captions_get_such_as_the_captioned_dataset_has(
    make, fake_config, write_models, tmp_path, captioned_first: bool
):
    one = make("one", "chairs/a", "chairs/b", captions__prompt="'One {category}.'")
    plain = fake_config(write_models(tmp_path / "plain models", "cups/c"), captions__prompt="'Unused.'")
    run(plain, tmp_path / "plain", caption=False)
    said: list[str] = []
    roots = (one, tmp_path / "plain") if captioned_first else (tmp_path / "plain", one)
    out = tmp_path / "both"
    assert merge(out, *roots, said=said).uncaptioned == 3
    assert (
        f"3 views have no caption yet; `mvcap caption {out}` writes them with the settings of {one}" in said
    )
    caption = ["caption", str(out), "--runner", "local"]
    assert CliRunner().invoke(app, caption).exit_code == 0
    assert {row["prompt"] for row in rows(out).values()} == {"One chairs.", "One cups."}


def test_objects_of_both_are_kept_once_and_counted(make, tmp_path):
    one = make("one", "chairs/a", "chairs/b", "cups/c")
    two = make("two", "chairs/b", "cups/c", "vases/f", "vases/g")
    said: list[str] = []
    outcome = merge(tmp_path / "both", one, two, said=said)
    assert (outcome.objects, outcome.views) == (5, 15)
    assert rows(tmp_path / "both") == rows(one) | rows(two)
    assert said == ["2 objects stand in several of them, all alike: each is kept once"]
    assert (
        len(Store(tmp_path / "both").require_plan().shards) == 3
    )  # one of the second one's held nothing new
    assert verify_dataset(tmp_path / "both", deep=True) == []


def test_a_shard_that_shares_some_objects_is_written_without_them(make, tmp_path):
    one = make("one", "chairs/a")
    two = make("two", "chairs/a", "cups/b")
    merge(tmp_path / "both", one, two)
    assert rows(tmp_path / "both") == rows(one) | rows(two)
    pictures = {key: row["image"]["bytes"] for key, row in rows(tmp_path / "both").items()}
    assert all(rows(two)[key]["image"]["bytes"] == picture for key, picture in pictures.items())
    assert verify_dataset(tmp_path / "both", deep=True) == []


def test_other_settings_are_refused_field_by_field(make, tmp_path):
    one = make("one", "chairs/a")
    two = make("two", "cups/b", render__views=2, plan__objects_per_shard=3, captions__prompt="'A {category}'")
    with pytest.raises(UsageError) as refused:
        merge(tmp_path / "both", one, two)
    assert "(one | two):" in str(refused.value)
    for line in ("plan objects_per_shard: 2 | 3", "render views: 3 | 2", "caption prompt: "):
        assert f"\n  {line}" in str(refused.value)
    assert not (tmp_path / "both").exists()


def test_an_object_that_differs_is_refused_with_both(make, write_models, tmp_path):
    write_models(tmp_path / "two models", "chairs/a")
    (tmp_path / "two models/labels.csv").write_text("path,category\nchairs/a.obj,throne\n")
    one, two = make("one", "chairs/a"), make("two", "chairs/a", "cups/b")
    message = rf"{uid_of(one, 'chairs/a.obj')}: category: 'chairs' in .*one \| 'throne' in .*two"
    with pytest.raises(UsageError, match=message):
        merge(tmp_path / "both", one, two)


def test_other_rows_of_an_object_are_refused_with_both(make, tmp_path):
    """As where the model file was changed between the two builds."""
    one, two = make("one", "chairs/a"), make("two", "chairs/a", "cups/b")
    store = Store(two)
    shard = store.require_plan().shards[0]
    commit = store.find_commit(CAPTION, shard)
    assert commit
    assert commit.file
    path = two / commit.file
    table = pq.read_table(path)
    place = table.schema.names.index("renderer")
    changed = table.set_column(place, table.schema.field(place), [["other"] * table.num_rows])
    pq.write_table(changed, path, row_group_size=3)
    store.amend(replace(commit, sha256=files.sha256_of(path), bytes=path.stat().st_size))
    with pytest.raises(UsageError, match=r"view 0: renderer: .* in .*one \| 'other' in .*two"):
        merge(tmp_path / "both", one, two)


def test_what_failed_in_one_alone_is_refused(make, tmp_path):
    fail = {"render__options__fail": "{two models/chairs/a: crash}"}
    one, two = make("one", "chairs/a", "cups/b", **fail), make("two", "chairs/a", "vases/c", **fail)
    with pytest.raises(UsageError, match=r"failure: None in .*one \| 'crash' in .*two"):
        merge(tmp_path / "both", one, two)


def test_what_one_has_removed_stays_out(make, fake_config, tmp_path):
    one = make("one", "chairs/a", "cups/b")
    two = make("two", "chairs/a", "vases/c")
    gone = uid_of(one, "chairs/a.obj")
    remove_objects(fake_config(tmp_path / "two models"), two, [gone], "licence withdrawn", lambda _: None)
    for number, order in enumerate(((one, two), (two, one))):
        out = tmp_path / f"both {number}"
        assert (merge(out, *order).removed, len(rows(out))) == (1, 6)
        assert gone not in {uid for uid, _ in rows(out)}
        assert verify_dataset(out, deep=True) == []


def test_evaluation_objects_of_one_are_not_learnt_by_way_of_another(make, tmp_path):
    one, two = make("one", "chairs/a"), make("two", "cups/b")
    uid = uid_of(one, "chairs/a.obj")
    store = Store(two)
    files.write_json(store.leaks_path, Leaks(evaluation=(uid,), left_out=(uid,)).to_json())
    with pytest.raises(UsageError, match=f"keeps 1 object out of training .*mvcap remove DIR {uid}"):
        merge(tmp_path / "both", one, two)


def test_a_broken_shard_is_refused_and_the_merge_goes_on_once_it_is_mended(make, fake_config, tmp_path):
    one, two = make("one", "chairs/a"), make("two", "cups/b")
    (victim,) = (two / "data").glob("*")
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(CorruptDatasetError, match=r"is not what its commit says: run `mvcap verify .*two`"):
        merge(tmp_path / "both", one, two)
    verify_dataset(two)
    run(fake_config(tmp_path / "two models"), two)
    assert merge(tmp_path / "both", one, two).views == 6
    assert verify_dataset(tmp_path / "both", deep=True) == []


def test_what_another_merge_left_that_was_killed_before_its_plan_counts_for_nothing(pair, tmp_path):
    store = Store(tmp_path / "both")
    uid = uid_of(pair[0], "chairs/a.obj")
    store.write_removals({uid: Removal(uid, "of another dataset", 0.0)})
    files.write_bytes(store.config_path, b"config: {name: another, sources: []}\nstages: {}\n")
    assert merge(tmp_path / "both", *pair).removed == 0
    config = (store.read_config() or {})["config"]
    assert (config["name"] == "another", len(config["sources"])) == (False, 2)


def test_a_dataset_is_not_made_inside_one_that_it_is_joined_of(pair, tmp_path):
    with pytest.raises(UsageError, match="which stays as it is: choose a folder beside it"):
        merge(pair[1] / "joined", *pair)
    assert not (pair[1] / "joined").exists()


def test_what_cannot_be_joined_is_refused_with_what_to_do(pair, make, tmp_path, fake_config, write_models):
    one, two = pair
    with pytest.raises(UsageError, match="named twice"):
        merge(tmp_path / "both", one, one)
    with pytest.raises(UsageError, match="named twice"):
        merge(two, one, two)
    with pytest.raises(UsageError, match="at least two"):
        merge(tmp_path / "both", one)
    with pytest.raises(UsageError, match="aws s3 sync"):
        merge_datasets([one, ObjectPlace("bucket", "two")], tmp_path / "both", lambda _: None)
    with pytest.raises(OutputError, match="is not a dataset"):
        merge(tmp_path / "both", one, tmp_path / "nowhere")
    (tmp_path / "used").mkdir()
    (tmp_path / "used/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is in use"):
        merge(tmp_path / "used", one, two)
    with pytest.raises(OutputError, match=r"notes.txt is a file: choose a new folder with --out"):
        merge(tmp_path / "used/notes.txt", one, two)
    third = make("third", "x/y")
    with pytest.raises(UsageError, match="holds another dataset"):
        merge(third, one, two)
    half = fake_config(write_models(tmp_path / "half models", "p/q", "p/r", "p/s"))
    run(half, tmp_path / "half")
    Store(tmp_path / "half").commit_path(CAPTION, 0).unlink()
    with pytest.raises(UsageError, match="is not finished"):
        merge(tmp_path / "both", one, tmp_path / "half")
    with Store(two).lock(None), pytest.raises(DatasetLockedError):
        merge(tmp_path / "both", one, two)
    assert not (tmp_path / "both").exists()
