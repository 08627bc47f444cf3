"""Quality columns through the whole pipeline: the same from every shard, told in commits and the card."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captions import synonyms
from mvcap.commits import CAPTION
from mvcap.errors import ConfigChangedError, ModelUnavailableError, UsageError
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.measuring import measure_captions
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = ("couch/a", "couch/b", "cup/c", "cup/d", "lamp/e")


def run(config, out: Path, **request):
    return build(config, Request(out, **request), LocalRunner(), lambda _: None)


def rows(out: Path) -> list[dict]:
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "data").glob("*.parquet"))]
    return [row for table in tables for row in table]


def test_every_caption_is_judged_and_flawed_ones_are_written_again(models, fake_config, tmp_path):
    run(fake_config(models(*NAMES), captions__options__stutter_for="[cup]"), tmp_path / "out")
    for row in rows(tmp_path / "out"):
        assert (row["category_match"], row["other_category"], row["caption_flags"]) == ("exact", None, [])
        assert row["caption_retried"] == (row["category"] == "cup")
        assert row["clip_score"] is None


def test_an_unguided_caption_names_the_category_of_no_object_and_echoes(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES), captions__prompt="Describe the thing before you.")
    run(config, tmp_path / "out")
    assert {row["category_match"] for row in rows(tmp_path / "out")} == {None}
    assert {tuple(row["caption_flags"]) for row in rows(tmp_path / "out")} == {("echoes_prompt",)}


def test_the_category_named_instead_may_be_of_another_shard(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES), captions__prompt="The thing is a sofa")  # unguided, and wrong
    run(config, tmp_path / "out")
    found = rows(tmp_path / "out")
    match = {(row["category"], row["category_match"], row["other_category"]) for row in found}
    assert match == {("couch", "synonym", None), ("cup", None, "couch"), ("lamp", None, "couch")}


def test_captioning_in_slices_judges_as_captioning_at_once(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES), captions__prompt="The thing is a sofa")
    run(config, tmp_path / "whole")
    run(config, tmp_path / "sliced", caption=False)
    for part in range(3):
        run(config, tmp_path / "sliced", render=False, part=(part, 3))
    assert rows(tmp_path / "sliced") == rows(tmp_path / "whole")


def test_commits_tell_which_words_and_categories_judged(models, fake_config, tmp_path):
    run(fake_config(models(*NAMES)), tmp_path / "out")
    store = Store(tmp_path / "out")
    commits = [store.read_commit(CAPTION, shard.index) for shard in store.require_plan().shards]
    told = [commit.made_by["vocabulary"] for commit in commits]
    assert told == [told[0]] * 3
    assert (told[0]["words"], told[0]["categories"]) == (f"table {synonyms.VERSION}", 3)
    assert store.settings(CAPTION, commits[0].settings)["synonyms"] == f"table {synonyms.VERSION}"


def test_other_word_lists_are_refused_and_not_mixed(models, fake_config, tmp_path):
    folder, out = models(*NAMES), tmp_path / "out"
    run(fake_config(folder), out)
    wordnet = tmp_path / "wordnet"
    wordnet.mkdir()
    for name in ("index.noun", "data.noun"):
        (wordnet / name).write_text("  1 The licence.\n")
    other = fake_config(folder, captions__synonyms="auto", captions__wordnet=wordnet)
    with pytest.raises(ConfigChangedError, match=r"synonyms: 'table \w+' -> 'wordnet \w+, table \w+'"):
        run(other, out)
    assert run(other, out, render=False, recaption=True).complete


def test_a_wordnet_that_is_missing_is_refused_before_anything_is_planned(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES), captions__synonyms="wordnet", captions__wordnet=tmp_path)
    with pytest.raises(UsageError, match="apt-get install wordnet-base"):
        run(config, tmp_path / "out")
    assert not (tmp_path / "out/_mvcap/plan.json").exists()


def test_objects_of_new_categories_may_join_a_captioned_dataset(models, fake_config, tmp_path):
    out = tmp_path / "out"
    run(fake_config(models(*NAMES)), out)
    run(fake_config(models("bed/f")), out)
    store = Store(out)
    last = store.read_commit(CAPTION, store.require_plan().shards[-1].index)
    assert last.made_by["vocabulary"]["categories"] == 4
    assert len(rows(out)) == 18


def card(out: Path) -> str:
    return (out / "README.md").read_text()


def test_the_card_and_the_objects_tell_what_was_measured(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES), captions__options__stutter_for="[cup]"), tmp_path / "out"
    run(config, out)
    assert "| name their category | 100.0% (exact 100.0%) |" in card(out)
    assert "| written a second time | 40.0% |" in card(out), "two of five objects"
    assert f"synonyms of: table {synonyms.VERSION}" in card(out)
    objects = pq.read_table(out / "objects.parquet").to_pylist()
    assert {row["category_named"] for row in objects} == {1.0}
    by_uid: dict[str, list[str]] = {}
    for row in rows(out):
        by_uid.setdefault(row["uid"], []).append(row["caption"])
    for row in objects:
        captions = by_uid[row["uid"]]
        same = sum(captions.count(caption) > 1 for caption in captions) / len(captions)
        assert row["identical_captions"] == pytest.approx(same)


def test_without_captions_nothing_is_measured(models, fake_config, tmp_path):
    run(fake_config(models(*NAMES)), tmp_path / "out", caption=False)
    assert "## Captions" not in card(tmp_path / "out")
    objects = pq.read_table(tmp_path / "out/objects.parquet").to_pylist()
    assert {row["identical_captions"] for row in objects} == {None}


def test_a_dataset_of_an_older_version_is_measured_by_what_it_has(models, fake_config, tmp_path):
    out = tmp_path / "out"
    run(fake_config(models(*NAMES)), out)
    store = Store(out)
    plan = store.require_plan()
    for shard in plan.shards:
        commit = store.find_commit(CAPTION, shard)
        old = pq.read_table(out / commit.file)
        added = ["category_match", "other_category", "caption_flags", "caption_retried", "clip_score"]
        old = old.drop_columns(added).replace_schema_metadata({**old.schema.metadata, b"mvcap_schema": b"2"})
        with store.stage_file(CAPTION, shard) as path:
            pq.write_table(old, path)
            facts = {"settings": commit.settings, "rows": commit.rows, "views": commit.views}
            store.commit(CAPTION, shard, path, schema_version=2, **facts)
    measured = measure_captions(store, plan)
    assert (measured.figures.captions, measured.figures.judged) == (15, 0)
    assert {measures.category_named for measures in measured.objects.values()} == {None}
    assert verify_dataset(out) == []


def test_a_clip_scores_every_caption_and_its_percentile_is_among_like_views(
    models, fake_config, tmp_path, small_clip
):
    out, folder = tmp_path / "out", models(*NAMES)
    config = fake_config(folder, captions__clip__model=small_clip, render__views=6)
    run(config, out)
    scores = pq.read_table(out / "caption_scores.parquet").to_pylist()
    data = {(row["uid"], row["view_index"]): row for row in rows(out)}
    assert [(row["uid"], row["view_index"]) for row in scores] == list(data)
    for row in scores:
        own = data[row["uid"], row["view_index"]]
        assert row["clip_score"] == own["clip_score"]
        like = [
            other["clip_score"]
            for other in scores
            if (other["category"], other["elevation_bin"]) == (row["category"], row["elevation_bin"])
        ]
        below = sum(score < row["clip_score"] for score in like)
        ties = sum(score == row["clip_score"] for score in like)
        assert row["clip_percentile"] == pytest.approx(100 * (below + ties / 2) / len(like))
    assert len({row["elevation_bin"] for row in scores}) > 1
    assert "median CLIP score at elevation 0 to 30" in card(out)
    assert verify_dataset(out) == []
    store = Store(out)
    made_by = store.read_commit(CAPTION, 0).made_by
    assert made_by["clip"]["model"] == small_clip.name


def test_scores_that_were_lost_are_written_again_and_old_ones_go(models, fake_config, tmp_path, small_clip):
    out, folder = tmp_path / "out", models(*NAMES)
    config = fake_config(folder, captions__clip__model=small_clip)
    run(config, out)
    before = (out / "caption_scores.parquet").read_bytes()
    (out / "caption_scores.parquet").unlink()
    run(config, out)
    assert (out / "caption_scores.parquet").read_bytes() == before
    run(fake_config(folder), out, render=False, recaption=True)
    assert not (out / "caption_scores.parquet").exists()
    assert "CLIP score" not in card(out)
    assert verify_dataset(out) == []


def test_a_clip_that_cannot_be_had_is_refused_before_rendering(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES), captions__clip__model=tmp_path)
    with pytest.raises(ModelUnavailableError, match=r"captions\.clip\.model"):
        run(config, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_captions_of_an_older_version_are_refused_with_the_way_out(
    models, fake_config, tmp_path, monkeypatch
):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    with monkeypatch.context() as older:
        older.setattr("pipelines.captioning.SCHEMA_VERSION", 2)
        run(config, out)
    with pytest.raises(ConfigChangedError, match=rf"anew with `mvcap caption {out} --recaption`"):
        run(config, out, render=False)
    assert run(config, out, render=False, recaption=True).complete
