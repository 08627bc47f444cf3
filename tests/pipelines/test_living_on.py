"""A dataset lives on: it is mended and grows, and what was whole keeps every byte."""

import hashlib
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mvcap.cli.app import app
from mvcap.commits import RENDER
from mvcap.errors import CorruptDatasetError
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e", "lamps/f")
OF_THE_WHOLE = {
    *("README.md", "objects.parquet", "report/index.html", "report/samples.png"),
    *("_mvcap/plan.json", "_mvcap/objects.parquet", "_mvcap/finished.json"),
}
"""What tells of all shards, and so changes when one is added."""


def run(config, out):
    return build(config, Request(out), LocalRunner(drop_views=True), lambda _: None)


def checksums(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*")
        if path.is_file() and "logs" not in path.parts
    }


def data_files(out: Path) -> list[Path]:
    return sorted((out / "data").glob("*.parquet"))


def rows(path: Path):
    return pq.read_table(path).to_pylist()


@pytest.fixture
def built(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out)
    return config, out


def test_a_flipped_byte_and_a_cut_shard_are_made_anew_and_the_others_keep_their_checksums(built):
    config, out = built
    flipped, cut, whole = data_files(out)
    before, contents = checksums(out), {path: rows(path) for path in (flipped, cut)}
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 8
    flipped.write_bytes(content)
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[: size // 2])
    command = CliRunner().invoke(app, ["verify", str(out), "--deep"])
    assert command.exit_code == 1
    assert f"{flipped.relative_to(out)}: has another content than its commit's checksum" in command.stdout
    assert f"{cut.relative_to(out)}: has {size // 2} bytes; its commit says {size}" in command.stdout
    assert data_files(out) == [whole]
    assert checksums(out)[f"data/{whole.name}"] == before[f"data/{whole.name}"]
    assert not run(config, out).failures
    after = checksums(out)
    assert {path: rows(path) for path in (flipped, cut)} == contents
    for part in (
        f"data/{whole.name}",
        "_mvcap/commits/render/00002.json",
        "_mvcap/commits/caption/00002.json",
    ):
        assert after[part] == before[part]
    assert verify_dataset(out, deep=True) == []


def test_more_objects_append_shards_and_every_old_file_keeps_its_checksum(built, models, fake_config):
    _, out = built
    before = checksums(out)
    outcome = run(fake_config(models("vases/g", "vases/h", "vases/i")), out)
    assert (outcome.objects, outcome.views, outcome.complete) == (9, 27, True)
    after = checksums(out)
    assert {name for name in before if after.get(name) != before[name]} == OF_THE_WHOLE
    assert [path.name for path in data_files(out)] == [
        *(f"train-{index:05d}-of-00003.parquet" for index in range(3)),
        *(f"train-{index:05d}-of-00005.parquet" for index in (3, 4)),
    ]
    assert verify_dataset(out, deep=True) == []


def test_growing_twice_equals_growing_at_once_but_for_the_shards(built, models, fake_config, tmp_path):
    _, out = built
    for name in ("vases/g", "vases/h"):
        run(fake_config(models(name)), out)
    run(fake_config(models()), tmp_path / "at once")

    def by_key(folder: Path):
        return {(row["uid"], row["view_index"]): row for path in data_files(folder) for row in rows(path)}

    assert by_key(out) == by_key(tmp_path / "at once")
    assert verify_dataset(out, deep=True) == []


def test_times_of_files_decide_nothing(built, models, fake_config):
    """As after a copy, or where the clocks of machines differ."""
    config, out = built
    files = sorted(path for path in out.rglob("*") if path.is_file())
    for number, path in enumerate(files):
        os.utime(path, (times := number % 3 * 2_000_000_000, times))  # 1970, 2033 and 2096
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    assert run(config, out).complete
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files} == before
    data_files(out)[1].unlink()
    assert len(verify_dataset(out)) == 2
    assert run(config, out).complete
    assert run(fake_config(models("vases/g")), out).views == 21
    assert verify_dataset(out, deep=True) == []


@pytest.mark.parametrize("views", [1, 5, 101])
def test_any_number_of_views_works(models, fake_config, tmp_path, views: int):
    out = tmp_path / "out"
    outcome = run(fake_config(models("chairs/a", "cups/b"), render__views=views), out)
    assert (outcome.views, outcome.failures) == (2 * views, ())
    indices = [row["view_index"] for path in data_files(out) for row in rows(path)]
    assert sorted(indices) == sorted([*range(views), *range(views)])
    assert verify_dataset(out, deep=True) == []


@pytest.mark.parametrize("loss", ["verified", "by hand", "record"])
def test_views_made_anew_beside_captions_that_stood_get_their_captions(
    models, fake_config, tmp_path, loss: str
):
    keep = {"run__keep_views": "true", "plan__objects_per_shard": 6}
    failing = fake_config(models(*NAMES), render__options__fail="{cups/c: crash}", **keep)
    out = tmp_path / "out"
    build(failing, Request(out), LocalRunner(drop_views=False), lambda _: None)
    store = Store(out)
    (shard,) = store.require_plan().shards
    views = store.target(RENDER, shard)
    if loss == "record":
        store.commit_path(RENDER, 0).write_bytes(b"")
    else:
        views.write_bytes(views.read_bytes()[:-1])
    if loss == "verified":
        verify_dataset(out)
    config = failing if loss == "by hand" else fake_config(models(), **keep)
    outcome = build(config, Request(out), LocalRunner(drop_views=False), lambda _: None)
    assert (outcome.complete, outcome.views) == (True, 15 if loss == "by hand" else 18)
    assert verify_dataset(out, deep=True) == []


def test_rendering_alone_makes_lost_views_anew_and_keeps_the_captions(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES), run__keep_views="true"), tmp_path / "out"
    build(config, Request(out), LocalRunner(drop_views=False), lambda _: None)
    before = [rows(path) for path in data_files(out)]
    store = Store(out)
    store.target(RENDER, store.require_plan().shards[0]).unlink()
    build(config, Request(out, caption=False), LocalRunner(drop_views=False), lambda _: None)
    assert [rows(path) for path in data_files(out)] == before


def test_a_plan_that_is_lost_is_not_taken_for_a_new_dataset(built, models, fake_config):
    _, out = built
    (out / "_mvcap/plan.json").unlink()
    before = checksums(out)
    with pytest.raises(CorruptDatasetError, match=r"plan\.json is missing, though shards are committed"):
        run(fake_config(models(*NAMES, "lamps/another")), out)
    assert checksums(out) == before
