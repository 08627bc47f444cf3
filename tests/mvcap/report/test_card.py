"""The card is valid for the hub, credits everybody, and cannot be written into by a name."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard

from mvcap.commits import CAPTION, RENDER, UNCAPTIONED
from mvcap.config import Config, producing_settings, settings_hash
from mvcap.plan import Plan, extend_plan
from mvcap.records import ObjectRecord, SelectedObject
from mvcap.report.card import write_card
from mvcap.storage import Store

EVIL = "</td> | `x` [link](javascript:alert(1)) <script>alert(1)</script>\n---\nlicense: mit"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A dataset of two objects, one by a creator with a hostile name; the other failed."""
    objects = [
        SelectedObject(ObjectRecord(f"folder-{n}", "folder", n, n, n, "CC-BY-3.0", EVIL, None), EVIL)
        for n in "ab"
    ]
    store = Store(tmp_path)
    plan = extend_plan(Plan(0, 2, {"train": 1.0}), [item.uid for item in objects])
    store.write_plan(plan, objects, [])
    made_by = {"name": "instructblip:untrained", "untrained": True}
    store.commit(CAPTION, plan.shards[0], None, settings="x", rows=3, views={"folder-a": 3}, made_by=made_by)
    write_card(store, plan, Config(name="test"))
    return store


def test_the_metadata_is_what_the_hub_reads(store):
    data = DatasetCard.load(store.root / "README.md").data
    assert data.license == "cc-by-3.0"
    assert data.configs[0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]


def test_counts_warnings_and_credits_are_told(store):
    text = (store.root / "README.md").read_text()
    assert "3 views of 1 objects" in text
    assert "1 objects failed" in text
    assert "untrained model" in text
    assert "CC-BY-3.0" in text


def test_captions_of_the_shipped_toy_are_called_that(store):
    shard = store.require_plan().shards[0]
    made_by = {"name": "instructblip:tiny", "toy": True}
    store.commit(
        CAPTION, shard, None, settings="y", rows=3, views={"folder-a": 3}, made_by=made_by, generation=1
    )
    write_card(store, store.require_plan(), Config(name="test"))
    text = (store.root / "README.md").read_text()
    assert "come from a toy" in text
    assert "untrained" not in text


def test_names_stay_text(store):
    text = (store.root / "README.md").read_text()
    assert "<script>" not in text
    head, _, body = text.partition("\n---\n")
    assert "mit" not in yaml.safe_load(head.removeprefix("---\n"))["license"]
    assert "\n---\n" not in body


def committed_card(store: Store, config: Config, *, captions: str) -> str:
    """Write the card of a rendered dataset whose second shard has the given caption settings."""
    plan = extend_plan(Plan(0, 1, {"train": 1.0}), [item.uid for item in store.read_objects()])
    store.write_plan(plan, store.read_objects(), [])
    made = Config(seed=7, render={"views": 5, "resolution": 64, "light": "objaverse"})
    render = store.remember_settings(RENDER, {"seed": 7, **producing_settings(made.render)})
    prompt = store.remember_settings(CAPTION, {"prompt": "A {category}."})
    blender, writer = {"blender": "4.5.15 LTS", "name": "blender"}, {"name": "tiny:1"}
    for shard, settings in zip(plan.shards, (prompt, captions), strict=True):
        views = {shard.uids[0]: 3}
        store.commit(RENDER, shard, None, settings=render, rows=3, views=views, made_by=blender)
        made_by = writer if settings == prompt else {}
        store.commit(
            CAPTION, shard, None, generation=9, settings=settings, rows=3, views=views, made_by=made_by
        )
    write_card(store, plan, config)
    return (store.root / "README.md").read_text()


def test_the_card_tells_the_committed_settings_and_not_the_present_ones(store):
    prompt = settings_hash({"prompt": "A {category}."})
    text = committed_card(store, Config(seed=1, captions={"prompt": "Other."}), captions=prompt)
    assert "| renderer | blender 4.5.15 LTS |" in text
    assert "| light, view transform | objaverse, Standard |" in text
    assert "| resolution | 64 px |" in text
    assert "| seed | 7 |" in text
    assert "| prompt | A {category}. |" in text
    assert "no captions yet" not in text


def test_views_without_captions_are_counted_apart(store):
    text = committed_card(store, Config(), captions=UNCAPTIONED)
    assert "> 3 of 6 views have no captions yet" in text
    assert "| captioner | tiny:1 |" in text
