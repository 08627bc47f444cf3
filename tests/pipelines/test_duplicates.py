"""The column `duplicate_of`: filled once all is rendered, whatever the order, kills and extensions."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mvcap.commits import CAPTION
from mvcap.config import settings_hash
from mvcap.errors import OutputError
from mvcap.learnable import learnable_uids
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.captioning import caption_settings, caption_stage
from pipelines.duplicates import Duplicates, label_duplicates
from pipelines.ledger import Assignment
from pipelines.runners.local import LocalRunner
from pipelines.shards import ShardWorker
from pipelines.todo import Request

NAMES = tuple(f"chairs/{letter}" for letter in "abcdefgh")
TWO_SPLITS = {"plan__splits": "{train: 0.5, test: 0.5}"}


def run(config, out, **request):
    return build(config, Request(out, **request), LocalRunner(), lambda _: None)


def table(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def rows(out: Path) -> list[dict]:
    return [row for path in sorted((out / "data").glob("*.parquet")) for row in table(path)]


def labels(out: Path) -> dict[str, str]:
    """From uid to `duplicate_of`, as all rows of the data say."""
    said = {(row["uid"], row["duplicate_of"]) for row in rows(out)}
    assert len(said) == len({uid for uid, _ in said}), "rows of one object contradict each other"
    return {uid: first for uid, first in said if first}


def contents(out: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def alike(fake_config):
    """Configure a folder in which a group of objects look the same."""

    def make(folder: Path, group: str = "aceh", **changes):
        like = ", ".join(f"chairs/{letter}.obj: one" for letter in group)
        return fake_config(folder, render__views=2, render__options__like=f"{{{like}}}", **changes)

    return make


def test_rows_and_objects_name_the_first_lookalike_and_training_comes_last(models, alike, tmp_path):
    out = tmp_path / "out"
    run(alike(models(*NAMES), **TWO_SPLITS), out)
    objects = {row["uid"]: row for row in table(out / "objects.parquet")}
    group = [row for row in objects.values() if row["source_id"][7] in "aceh"]
    tested = [row["uid"] for row in group if row["split"] == "test"]
    learnt = [row["uid"] for row in group if row["split"] == "train"]
    assert tested
    assert learnt  # by their uids' hashes
    assert labels(out) == dict.fromkeys([*tested[1:], *learnt], tested[0])
    assert {uid: row["duplicate_of"] for uid, row in objects.items() if row["duplicate_of"]} == labels(out)
    assert {row["duplicate_split"] for row in objects.values() if row["duplicate_of"]} == {"test"}
    assert learnable_uids(out) == {
        uid for uid, row in objects.items() if row["split"] == "train" and uid not in learnt
    }
    card = (out / "README.md").read_text()
    assert "| objects that look like another, in column duplicate_of | 3 |" in card
    assert f"| training objects that look like one of another split | {len(learnt)} |" in card
    assert verify_dataset(out, deep=True) == []


def test_lookalikes_within_training_are_kept_or_left_out(models, alike, tmp_path):
    out = tmp_path / "out"
    run(alike(models(*NAMES)), out)
    everything = {row["uid"] for row in table(out / "objects.parquet")}
    assert len(labels(out)) == 3
    assert learnable_uids(out) == everything
    assert learnable_uids(out, lookalikes=False) == everything - labels(out).keys()


def test_only_shards_with_lookalikes_are_committed_again_and_keep_all_else(models, alike, tmp_path):
    plain, labelled = tmp_path / "plain", tmp_path / "labelled"
    config = alike(models(*NAMES), "ab")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipelines.finish.label_duplicates", lambda *_: 0)
        run(config, plain)
    run(config, labelled)
    store = Store(labelled)
    commits = [store.read_commit(CAPTION, shard.index) for shard in store.require_plan().shards]
    assert sorted(commit.generation for commit in commits) == [0, 0, 0, 1]
    (later,) = labels(labelled)
    assert [row | {"duplicate_of": None} for row in rows(labelled)] == rows(plain)
    assert {row["uid"] for row in rows(labelled) if row["duplicate_of"]} == {later}


def test_a_finished_build_with_lookalikes_writes_nothing(models, alike, tmp_path):
    config, out = alike(models(*NAMES)), tmp_path / "out"
    run(config, out)
    before = contents(out)
    run(config, out)
    run(config, out, render=False)
    assert contents(out) == before


def test_a_kill_between_two_labelled_shards_changes_nothing_in_the_end(
    models, alike, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    config, calm, killed = alike(models(*NAMES)), tmp_path / "calm", tmp_path / "killed"
    run(config, calm)
    commit, labelled = Store.commit, []

    def die_at_the_second(store: Store, stage, shard, temporary, **facts):
        if "duplicates" in facts:
            if labelled:
                raise KeyboardInterrupt
            labelled.append(shard.index)
        return commit(store, stage, shard, temporary, **facts)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "commit", die_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            run(config, killed)
    assert 0 < len(labels(killed)) < len(labels(calm))
    run(config, killed)
    assert rows(killed) == rows(calm)
    assert verify_dataset(killed, deep=True) == []


def test_more_objects_change_the_labels_of_old_shards_where_they_come_before_them(models, alike, tmp_path):
    out, folder = tmp_path / "out", models("chairs/a", "chairs/c")
    config = alike(folder, plan__evaluation="[chairs/e.obj]")
    run(config, out)
    a, c = sorted(row["uid"] for row in table(out / "objects.parquet"))
    assert labels(out) in ({a: c}, {c: a})
    models("chairs/e")
    run(config, out)
    uids = {row["uid"]: row["split"] for row in table(out / "objects.parquet")}
    (e,) = (uid for uid, split in uids.items() if split == "test")
    assert labels(out) == {a: e, c: e}
    assert learnable_uids(out) == set()
    assert verify_dataset(out, deep=True) == []


def test_new_captions_keep_the_labels(models, alike, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    run(alike(folder), out)
    before = labels(out)
    run(alike(folder, captions__prompt="'A {category}.'"), out, render=False, recaption=True)
    assert {row["prompt"] for row in rows(out)} == {"A chairs."}
    assert labels(out) == before


def test_objects_of_the_same_bytes_are_duplicates_though_nobody_knew_when_they_were_planned(
    models, fake_config, tmp_path
):
    out, folder = tmp_path / "out", models(*NAMES)
    config = fake_config(folder, render__views=1)
    copy = folder / "chairs/b.obj"
    copy.write_bytes((folder / "chairs/a.obj").read_bytes())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("pipelines.leak_free.find_twins", lambda *_: {})  # as before a download
        run(config, out)
    ids = {row["uid"]: row["source_id"] for row in rows(out)}
    assert {ids[uid] for pair in labels(out).items() for uid in pair} == {"chairs/a.obj", "chairs/b.obj"}


def test_imported_pictures_are_not_looked_at_and_the_card_says_so(pictures, fake_config, tmp_path):
    (tmp_path / "photos").mkdir()
    photos = pictures.rename(tmp_path / "photos" / "blue").parent
    config = fake_config(photos, sources__0__source="images", sources__0__options__path=photos)
    run(config, tmp_path / "out")
    assert labels(tmp_path / "out") == {}
    assert "| objects that look like another | not looked for" in (tmp_path / "out/README.md").read_text()


def test_what_is_no_finished_dataset_has_nothing_to_learn_from(tmp_path):
    with pytest.raises(OutputError, match="not a finished dataset"):
        learnable_uids(tmp_path)


def test_captions_survive_labels_that_another_slice_commits_meanwhile(models, alike, tmp_path):
    out, config = tmp_path / "out", alike(models(*NAMES))
    run(config, out, caption=False)
    store = Store(out)
    plan, nothing = store.require_plan(), Duplicates({}, {}, looked=True)
    stage = caption_stage(config, settings_hash(caption_settings(config)))
    with ShardWorker(stage, out, drop_views=False) as worker:
        # A generation between start and end.
        worker.run(Assignment(CAPTION, 0), lambda _: label_duplicates(store, plan, nothing))
    assert all(row["caption"] for row in table(out / "data" / plan.shards[0].file_name))
    run(config, out)
    assert len(labels(out)) == 3
    assert verify_dataset(out, mark=False) == []


def test_a_dataset_from_before_there_were_duplicates_may_be_learnt_from(models, alike, tmp_path):
    out = tmp_path / "out"
    run(alike(models(*NAMES), **TWO_SPLITS), out)
    objects = pq.read_table(out / "objects.parquet")
    pq.write_table(objects.drop_columns(["duplicate_of", "duplicate_split"]), out / "objects.parquet")
    learnt = {row["uid"] for row in objects.to_pylist() if row["split"] == "train"}
    assert learnable_uids(out) == learnt
