"""Evaluation objects and objects of the same bytes: nothing of them leaks into training."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mvcap.config import PlanConfig
from mvcap.errors import CorruptDatasetError, UsageError
from mvcap.files import sha256_of
from mvcap.leaks import Leaks
from mvcap.records import ObjectRecord, SelectedObject
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines import identical_assets
from pipelines.build_all import build
from pipelines.duplicates import Duplicates, leak_figures
from pipelines.evaluation_list import find_named, read_entries
from pipelines.identical_assets import find_twins
from pipelines.planning import list_objects
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = tuple(f"{kind}/{letter}" for kind in ("chairs", "cups") for letter in "abcdefgh")
SPLITS = "{train: 0.5, test: 0.5}"


def run(config, out, say=lambda _: None, **request):
    return build(config, Request(out, **request), LocalRunner(), say)


def split_of_each(out: Path) -> dict[str, str]:
    """By source id, from the data itself."""
    paths = (out / "data").glob("*.parquet")
    rows = [row for path in paths for row in pq.read_table(path, columns=["source_id", "split"]).to_pylist()]
    return {row["source_id"]: row["split"] for row in rows}


def copy_model(folder: Path, name: str, to: str) -> None:
    (folder / to).parent.mkdir(exist_ok=True)
    shutil.copyfile(folder / f"{name}.obj", folder / f"{to}.obj")


# the list


def test_a_list_may_have_a_mark_any_line_ends_blank_lines_and_repetitions(tmp_path: Path):
    path = tmp_path / "objects.txt"
    path.write_bytes("\ufeffKator Legaz#screen-door\r\n\r\n  стул \n\nKator Legaz#screen-door\rlast".encode())
    assert read_entries(str(path)) == ["Kator Legaz#screen-door", "стул", "last"]
    assert read_entries(["a", " ", "a"]) == ["a"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_list_that_cannot_be_read_is_refused_by_name(tmp_path: Path, content: bytes | None):
    if content:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UsageError, match=r"plan\.evaluation=.*list\.txt"):
        read_entries(str(tmp_path / "list.txt"))


def test_an_object_is_named_by_uid_source_id_path_or_folder(models, fake_config, monkeypatch):
    folder = models("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e")
    objects = {item.record.source_id: item for item in list_objects(fake_config(folder)).objects.values()}
    monkeypatch.chdir(folder / "cups")
    strange = ["x", "a\0b", "~no/x"]
    entries = [objects["chairs/a.obj"].uid, "chairs/b.obj", "c.obj", str(folder / "lamps"), *strange]
    named = find_named(entries, objects.values())
    assert named.uids == {item.uid for name, item in objects.items() if name != "cups/d.obj"}
    assert named.unknown == tuple(strange)


@pytest.mark.parametrize("split", ["train", "", "a b"])
def test_evaluation_objects_cannot_be_sent_to_training(split: str):
    with pytest.raises(ValueError, match="split"):
        PlanConfig(evaluation_split=split)


# evaluation objects


def test_evaluation_objects_go_to_their_split_and_unknown_entries_are_told(models, fake_config, tmp_path):
    folder, out, said = models(*NAMES), tmp_path / "out", []
    (tmp_path / "list.txt").write_text("chairs/a.obj\nnobody\nchairs/b.obj\n")
    config = fake_config(folder, plan__evaluation=tmp_path / "list.txt", plan__evaluation_split="benchmark")
    run(config, out, said.append)
    splits = split_of_each(out)
    held_out = {name for name, split in splits.items() if split == "benchmark"}
    assert held_out == {"chairs/a.obj", "chairs/b.obj"}
    assert "1 of 3 entries of plan.evaluation name no object of the sources: nobody" in said
    assert verify_dataset(out) == []
    card = (out / "README.md").read_text()
    assert "| evaluation objects kept out of training | 2 |" in card
    assert "| entries of the list that name no object | 1 |" in card


def test_evaluation_objects_may_be_left_out_and_are_no_failures(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES), plan__evaluation="[chairs/a.obj]", plan__evaluation_split="null")
    outcome = run(config, tmp_path / "out")
    assert split_of_each(tmp_path / "out").keys() == {f"{name}.obj" for name in NAMES} - {"chairs/a.obj"}
    assert (outcome.objects, outcome.failures) == (len(NAMES) - 1, ())
    assert "| objects left out of the dataset for it | 1 |" in (tmp_path / "out/README.md").read_text()


def test_what_was_held_out_once_stays_out_without_the_list(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    held_out = {"plan__evaluation": "[chairs/a.obj]", "plan__evaluation_split": "null"}
    run(fake_config(folder, **held_out), out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    run(fake_config(folder, plan__evaluation_split="null"), out)
    assert "chairs/a.obj" not in split_of_each(out)
    models("lamps/new")
    run(fake_config(folder), out)
    assert split_of_each(out)["chairs/a.obj"] == "test"
    assert all(path.read_bytes() == content for path, content in before.items() if path.parent.name == "data")


def test_an_evaluation_object_that_is_learnt_already_is_refused(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    run(fake_config(folder), out)
    with pytest.raises(UsageError, match=r"2 objects that this dataset has in train already.*--out"):
        run(fake_config(folder, plan__evaluation="[chairs/a.obj, chairs/b.obj]"), out)
    copy_model(folder, "chairs/a", "benchmark/x")
    with pytest.raises(UsageError, match=r"benchmark-x-\S+ as folder-chairs-a-\S+, whose asset is the same"):
        run(fake_config(folder, plan__evaluation="[benchmark/x.obj]"), out)


def test_a_list_that_grew_is_on_the_card_though_no_shard_changes(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    run(fake_config(folder, plan__splits="{test: 1.0}"), out)
    run(fake_config(folder, plan__splits="{test: 1.0}", plan__evaluation="[chairs/a.obj]"), out)
    assert "| evaluation objects kept out of training | 1 |" in (out / "README.md").read_text()
    assert verify_dataset(out) == []


def test_a_damaged_record_is_explained(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out)
    (out / "_mvcap/leaks.json").write_text("[]")
    with pytest.raises(CorruptDatasetError, match=r"leaks\.json is damaged"):
        run(config, out)


# objects of the same bytes


def test_copies_of_one_file_land_in_one_split(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    for name in NAMES:
        copy_model(folder, name, f"copies/{name.replace('/', '-')}")
    run(fake_config(folder, plan__splits=SPLITS), out)
    splits = split_of_each(out)
    assert all(splits[f"{name}.obj"] == splits[f"copies/{name.replace('/', '-')}.obj"] for name in NAMES)
    assert set(splits.values()) == {"train", "test"}
    assert (
        f"| assets that several objects have, which are in one split | {len(NAMES)} |"
        in (out / "README.md").read_text()
    )


@pytest.mark.parametrize("old", ["on disk", "vanished"])
def test_a_copy_that_comes_later_follows_its_twin_even_one_that_is_gone(models, fake_config, tmp_path, old):
    folder, out, more = models(*NAMES), tmp_path / "out", tmp_path / "more"
    run(fake_config(folder, plan__splits=SPLITS), out)
    shutil.copytree(folder, more)
    if old == "vanished":
        shutil.rmtree(folder)
    config = fake_config(more, plan__splits=SPLITS)
    for path in sorted(more.rglob("*.obj")):
        path.rename(path.with_stem(f"again-{path.stem}"))
    run(config, out)
    splits = split_of_each(out)
    assert len(splits) == 2 * len(NAMES)
    for name in NAMES:
        kind, _, letter = name.partition("/")
        assert splits[f"{kind}/again-{letter}.obj"] == splits[f"{name}.obj"]


def test_only_files_of_the_same_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes = {"a": 5, "b": 7, "c": 7, "d": 9}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"x" * size)
    read: Counter[str] = Counter()

    def counted_digest(path: Path) -> str:
        read[path.name] += 1
        return sha256_of(path)

    monkeypatch.setattr(identical_assets, "sha256_of", counted_digest)
    twins = find_twins({name: tmp_path / name for name in sizes}, {}, dict)
    assert twins.keys() == {"b", "c"}
    assert twins["b"] == twins["c"]
    assert read == {"b": 1, "c": 1}


def test_files_that_hold_several_objects_and_files_that_are_not_there_make_no_twins(tmp_path: Path):
    (tmp_path / "many.zip").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    assets = dict.fromkeys("ab", tmp_path / "many.zip") | {"c": tmp_path / "none", "d": tmp_path / "folder"}
    assert find_twins(assets | {"e": tmp_path / "a\0b"}, {}, dict) == {}


def test_the_record_of_twins_is_plain_json_and_survives_its_file(models, fake_config, tmp_path):
    folder, out = models("chairs/a", "chairs/b"), tmp_path / "out"
    copy_model(folder, "chairs/a", "chairs/c")
    run(fake_config(folder), out)
    twins = json.loads((out / "_mvcap/leaks.json").read_text())["twins"]
    assert {uid.split("-")[2] for uid in twins} == {"a", "c"}
    assert len(set(twins.values())) == 1


def test_the_card_counts_as_in_one_split_only_twins_that_are(tmp_path):
    """A joined dataset may have one in each, from datasets that did not know of each other."""
    store = Store(tmp_path)
    twins = {"a": "1", "b": "1", "c": "2", "d": "2", "e": "3", "lost": "3"}
    store.leaks_path.parent.mkdir()
    store.leaks_path.write_text(json.dumps(Leaks(twins=twins).to_json()))
    splits = dict.fromkeys("abcde", "train") | {"d": "test"}
    assert leak_figures(store, Duplicates({"c": "d"}, splits, looked=True)).twin_groups == 2


def test_a_file_that_two_sources_list_lands_in_one_split(models, fake_config, tmp_path):
    folder = models(*NAMES)
    listed = (f"{{source: folder, options: {{path: {path}}}}}" for path in (folder, folder / "cups"))
    both = f"[{', '.join(listed)}]"
    run(fake_config(folder, sources=both, plan__splits=SPLITS), tmp_path / "out")
    split = split_of_each(tmp_path / "out")
    assert len(split) == len(NAMES) + 8
    assert all(split[f"cups/{letter}.obj"] == split[f"{letter}.obj"] for letter in "abcdefgh")


def test_an_object_of_a_list_of_many_is_named_by_its_folder(tmp_path: Path):
    record = ObjectRecord(
        "u", "mvcap_release", "views/c1", "c1", str(tmp_path / "metadata.json"), None, None, None
    )
    listed = [SelectedObject(record, "cup")]
    for entry in ("views/c1", str(tmp_path / "views" / "c1")):
        assert find_named([entry], listed).uids == {"u"}
