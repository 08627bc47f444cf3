"""The card is valid for the hub, credits everybody, and cannot be written into by a name."""

from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard

from mvcap.commits import CAPTION
from mvcap.config import Config
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


def test_names_stay_text(store):
    text = (store.root / "README.md").read_text()
    assert "<script>" not in text
    head, _, body = text.partition("\n---\n")
    assert "mit" not in yaml.safe_load(head.removeprefix("---\n"))["license"]
    assert "\n---\n" not in body
