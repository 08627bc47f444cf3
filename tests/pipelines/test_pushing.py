"""A dataset comes to the hub whole or is gone on with; the card, and what proves the rest, come last."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, constants

from mvcap import plugins, recipes
from mvcap.errors import CorruptDatasetError, PushError, UsageError
from mvcap.pushes import Repository
from mvcap.storage import Store
from pipelines import pushing
from pipelines.build_all import build
from pipelines.planning import saved_settings
from pipelines.pushing import push_dataset
from pipelines.removing import remove_objects
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 1 4 3\n"
HOME = Repository("me/chairs", "main")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of an object each, three views an object."""
    folder = tmp_path_factory.mktemp("pushing")
    for name in ("a", "b", "c"):
        path = folder / "models" / "chair" / f"{name}.obj"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n{TETRAHEDRON}")
    labels = "path,license\nchair/a.obj,CC0-1.0\nchair/b.obj,CC0-1.0\nchair/c.obj,CC-BY-4.0\n"
    (folder / "models" / "labels.csv").write_text(labels)
    settings = {
        "sources": [{"source": "folder", "options": {"path": str(folder / "models")}}],
        "plan": {"objects_per_shard": 1, "splits": {"train": 1.0}},
        "render": {"backend": "fake", "views": 3, "resolution": 32},
        "captions": {"backend": "fake"},
    }
    config = recipes.build_config(settings, plugins.options_model)
    build(config, Request(folder / "dataset"), LocalRunner(), lambda _: None)
    return folder / "dataset"


@pytest.fixture
def dataset(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "dataset"))


@pytest.fixture
def writable(hub, hub_double, monkeypatch):
    """The hub, for somebody who may write to it."""
    monkeypatch.setenv("HF_TOKEN", hub_double.TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("mvcap.hub.LONGEST_PATIENT_WAIT_S", 2.0)
    return hub


def push(dataset: Path, repository: Repository = HOME, *, private: bool = False) -> pushing.Pushed:
    return push_dataset(dataset, repository, private=private, say=lambda _: None)


def data_of(dataset: Path) -> dict[str, str]:
    """Return the hashes of the data files, by name."""
    return {
        f"data/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (dataset / "data").iterdir()
    }


def test_all_that_readers_need_is_there_and_card_and_manifest_came_last(dataset, writable):
    pushed = push(dataset, private=True)
    there = writable.root / "datasets" / "me" / "chairs"
    assert data_of(there) == data_of(dataset)
    assert sorted(writable.commits[-1]) == ["README.md", "croissant.json", "manifest.json"]
    assert not any("README.md" in commit for commit in writable.commits[:-1])
    manifest = json.loads((there / "manifest.json").read_bytes())
    assert {name: manifest["files"][name]["sha256"] for name in data_of(dataset)} == data_of(dataset)
    assert manifest["files"]["objects.parquet"]["bytes"] == (dataset / "objects.parquet").stat().st_size
    assert json.loads((there / "croissant.json").read_bytes())["url"] == f"{writable.url}/datasets/me/chairs"
    card = DatasetCard.load(there / "README.md")
    [split] = card.data.to_dict()["dataset_info"][0]["splits"]
    assert (split["name"], split["num_examples"]) == ("train", 9)
    assert 'load_dataset("me/chairs"' in card.text
    assert (pushed.url, pushed.already_there) == (f"{writable.url}/datasets/me/chairs", 0)
    assert not (there / "_mvcap").exists()
    assert writable.private == {"me/chairs": True}


def test_the_licence_of_a_removed_object_is_told_no_more(dataset, writable):
    push(dataset)
    there = writable.root / "datasets" / "me" / "chairs"
    assert json.loads((there / "croissant.json").read_bytes())["license"] == ["CC-BY-4.0", "CC0-1.0"]
    config = recipes.build_config(saved_settings(Store(dataset)), plugins.options_model)
    remove_objects(config, dataset, ["chair/c.obj"], "withdrawn", lambda _: None)
    push(dataset)
    assert json.loads((there / "croissant.json").read_bytes())["license"] == ["CC0-1.0"]
    assert "CC-BY-4.0" not in (there / "README.md").read_text()


def test_what_was_pushed_loads_by_its_card_with_the_sizes_it_names(dataset, writable, tmp_path):
    datasets = pytest.importorskip("datasets", reason="pip install datasets")
    push(dataset)
    there = writable.root / "datasets" / "me" / "chairs"
    loaded = datasets.load_dataset(str(there), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in loaded.items()} == {"train": 9}
    assert loaded["train"][0]["image"].size == (32, 32)
    assert datasets.get_dataset_config_names(str(there)) == ["default", "objects"], "nothing failed"
    objects = datasets.load_dataset(str(there), "objects", cache_dir=str(tmp_path / "cache"))
    assert len(objects["train"]) == 3


def test_a_second_push_sends_nothing_and_a_changed_dataset_what_changed(dataset, writable):
    push(dataset)
    commits = len(writable.commits)
    assert (push(dataset).sent, len(writable.commits)) == (0, commits)
    there = writable.root / "datasets" / "me" / "chairs"
    manifest = json.loads((there / "manifest.json").read_bytes())
    manifest["files"]["data/train-old.parquet"] = {}
    (there / "manifest.json").write_text(json.dumps(manifest))
    (there / "data" / "train-old.parquet").write_bytes(b"of an earlier push" * 9)
    (there / "data" / "foreign.txt").write_bytes(b"put there by somebody" * 9)
    (there / "data" / min(data_of(dataset)).removeprefix("data/")).write_bytes(b"other captions" * 9)
    assert push(dataset).sent == 2
    assert [sorted(commit) for commit in writable.commits[commits:]] == [
        [min(data_of(dataset))],
        ["data/train-old.parquet", "manifest.json"],
    ]
    assert (there / "data" / "foreign.txt").exists()


def test_a_branch_is_made_and_main_stays_empty(dataset, writable):
    push(dataset, Repository("me/chairs", "v2"))
    datasets = writable.root / "datasets" / "me"
    assert data_of(datasets / "chairs@v2") == data_of(dataset)
    assert list((datasets / "chairs").iterdir()) == []


def test_committed_batches_are_not_asked_for_again(dataset, writable, hub_double, monkeypatch):
    monkeypatch.setattr(pushing, "FILES_AT_ONCE", 1)
    refused = sorted(data_of(dataset).items())[1]
    writable.fail("PUT", refused[1], *[hub_double.refusing(403)])
    with pytest.raises(PushError, match=r"may not write.*the same command then goes on"):
        push(dataset)
    assert writable.commits == [[min(data_of(dataset))]]
    before = len(writable.requests)
    push(dataset)
    sent = [request.path for request in writable.requests[before:] if request.method == "PUT"]
    assert f"/lfs/{refused[1]}" in sent
    assert f"/lfs/{data_of(dataset)[min(data_of(dataset))]}" not in sent
    assert data_of(writable.root / "datasets/me/chairs") == data_of(dataset)


def test_a_killed_push_leaves_no_card_and_the_same_command_sends_what_lacks(
    dataset, writable, hub_double, tmp_path
):
    last = sorted(data_of(dataset).items())[-1][1]
    reached = threading.Event()
    writable.fail("PUT", last, hub_double.stuck(reached, 30))
    environment = {
        **os.environ,
        "HF_HUB_DISABLE_XET": "1",
        "HF_DEBUG": "1",
        "HF_HOME": str(tmp_path / "home"),
    }
    command = [str(Path(sys.executable).with_name("mvcap")), "push", str(dataset), "--repo", "me/chairs"]
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert reached.wait(150)
    stored = {path.name for path in (writable.root / "lfs").glob("*") if not path.suffix}
    first.kill()
    told = first.communicate()[0]
    there = writable.root / "datasets" / "me" / "chairs"
    assert not (there / "README.md").exists()
    before = len(writable.requests)
    second = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert second.returncode == 0, second.stderr
    sent = {r.path.removeprefix("/lfs/") for r in writable.requests[before:] if r.method == "PUT"}
    assert last in sent
    assert not sent & stored, "what came whole before is not sent again"
    assert data_of(there) == data_of(dataset)
    assert (there / "README.md").exists()
    assert second.stdout == f"{writable.url}/datasets/me/chairs\n"
    assert hub_double.TOKEN not in told + second.stdout + second.stderr


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "run `hf auth login`"),
        (403, "make one with write access"),
        (429, "wait some minutes"),
        (409, "--repo"),
    ],
)
def test_refusals_name_their_remedy(dataset, writable, hub_double, status, remedy):
    headers = {"Retry_After": "60"} if status == 429 else {}
    writable.fail("POST", "/commit/main", hub_double.refusing(status, **headers))
    with pytest.raises(PushError, match=remedy) as refused:
        push(dataset)
    assert hub_double.TOKEN not in str(refused.value)
    assert len(str(refused.value)) < 400
    push(dataset)
    assert (writable.root / "datasets" / "me" / "chairs" / "README.md").exists()


def test_nobody_can_push_without_a_token(dataset, hub, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(PushError, match="does not know who writes"):
        push(dataset)


def test_damaged_files_and_unfinished_datasets_stay_here(dataset, writable):
    damaged = dataset / min(data_of(dataset))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptDatasetError, match="mvcap verify"):
        push(dataset)
    assert writable.commits == []
    (dataset / "README.md").unlink()
    with pytest.raises(UsageError, match="is not finished"):
        push(dataset)
