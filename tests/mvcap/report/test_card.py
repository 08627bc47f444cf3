"""The card is valid for the hub, credits everybody, and cannot be written into by a name."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import typer
import yaml
from huggingface_hub import DatasetCard

from mvcap import schema
from mvcap.cli import app
from mvcap.commits import CAPTION, RENDER, UNCAPTIONED
from mvcap.config import Config, producing_settings, settings_hash
from mvcap.plan import Plan, extend_plan
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.report.card import write_card
from mvcap.report.card_metadata import card_metadata, with_split_sizes, yaml_features
from mvcap.storage import Store

EVIL = (
    "</td> | \\| `x` ![](https://example.org/seen.png) [link](javascript:alert(1)) <script>alert(1)</script>"
    "\n---\nlicense: mit"
)


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
    assert "3 views of 1 object in 1 category, each view with" in text
    assert "1 object failed;" in text
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


@pytest.mark.parametrize(("backend", "told"), [("fake", "is a fake"), ("template", "Each is its prompt")])
def test_captions_that_no_model_wrote_are_called_that(store, backend, told):
    made_by = {"name": f"{backend}:x", "backend": backend}
    shard = store.require_plan().shards[0]
    facts = {"settings": "y", "rows": 3, "views": {"folder-a": 3}, "generation": 1}
    store.commit(CAPTION, shard, None, made_by=made_by, **facts)
    write_card(store, store.require_plan(), Config(name="test"))
    text = (store.root / "README.md").read_text()
    assert "**No model wrote the captions.**" in text
    assert told in text


def test_the_command_that_makes_a_picture_again_is_one(store, monkeypatch):
    """Of the first object's views the first was lost."""
    plan = store.require_plan()
    lost = Rejected("folder-a", "render", "bad_views", "nothing to see", view_index=0)
    made_by = {"name": "blender", "blender": "4.5.15 LTS"}
    facts = {"settings": "z", "rows": 2, "views": {"folder-a": 2}, "rejected": [lost]}
    store.commit(RENDER, plan.shards[0], None, made_by=made_by, **facts)
    write_card(store, plan, Config(name="test"))
    (command,) = re.findall(r"```bash\n(mvcap .*)\n```", (store.root / "README.md").read_text())
    monkeypatch.chdir(store.root.parent)
    render = typer.main.get_command(app).commands["render"]
    given = render.make_context("render", shlex.split(command)[2:]).params
    assert given["out"].resolve() == store.root
    assert (given["uid"], given["view"], given["save"]) == ("folder-a", 1, Path("again.png"))


def test_names_stay_text(store):
    text = (store.root / "README.md").read_text()
    assert "<script>" not in text
    assert not re.search(r"(?<!\\)(?:\\\\)*\[(?:link)?\]\(", text), "a name links to somewhere"
    (credit,) = [line for line in text.splitlines() if line.startswith("| CC-BY-3.0")]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", credit)) == 5, "a name begins another cell"
    head, _, body = text.partition("\n---\n")
    assert "mit" not in yaml.safe_load(head.removeprefix("---\n"))["license"]
    assert "\n---\n" not in body


def test_the_example_loads_a_split_that_has_rows(store):
    assert 'split="train"' in (store.root / "README.md").read_text()
    shard = replace(store.require_plan().shards[0], split="test")
    plan = replace(store.require_plan(), shards=(shard,))
    write_card(store, plan, Config(name="test"))
    assert 'split="test"' in (store.root / "README.md").read_text()


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


def test_what_datasets_would_write_is_what_the_card_says_of_its_columns():
    datasets = pytest.importorskip("datasets", reason="pip install datasets")
    for columns in (schema.VIEW_SCHEMA, schema.OBJECT_SCHEMA, schema.FAILURE_SCHEMA, schema.SCORE_SCHEMA):
        expected = datasets.Features.from_arrow_schema(columns)._to_yaml_list()
        assert yaml_features(columns) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["CC-BY-3.0", "CC-BY-3.0-US"], {"license": "cc-by-3.0"}),
        (["CC-BY-4.0", "CC0-1.0"], {"license": ["cc-by-4.0", "cc0-1.0"]}),
        (["unknown", "CC0-1.0"], {"license": "other", "license_name": "cc0-1.0-and-unknown"}),
        (["CO3D: non/commercial\n"], {"license": "other", "license_name": "co3d-non-commercial"}),
    ],
)
def test_licences_have_the_hubs_names_or_are_other_with_all_names(names, expected):
    data = card_metadata(
        "x", views=1, splits=["train"], licenses=names, data_bytes=1, current=True, failed=True, scored=False
    )
    assert {key: value for key, value in data.to_dict().items() if key.startswith("license")} == expected


def test_limits_figures_and_the_method_are_told(store):
    store.samples_path.parent.mkdir(parents=True, exist_ok=True)
    store.samples_path.write_bytes(b"picture")
    write_card(store, store.require_plan(), Config(name="test"))
    text = (store.root / "README.md").read_text()
    assert "| train | 1 | 3 |" in text
    assert "](report/samples.png)" in text
    assert "no object is seen from below" in text
    assert "ruan2024omniview" in text
    assert "is unknown" not in text


def test_sizes_of_splits_can_be_added_for_a_copy_that_does_not_change(store):
    metadata = DatasetCard.load(store.root / "README.md").data.to_dict()
    assert "splits" not in metadata["dataset_info"][0]
    sized = with_split_sizes(metadata, {"train": (3, 1000), "test": (1, 200)})
    assert sized["dataset_info"][0]["splits"] == [
        {"name": "train", "num_bytes": 1000, "num_examples": 3},
        {"name": "test", "num_bytes": 200, "num_examples": 1},
    ]
    assert sized["dataset_info"][0]["dataset_size"] == 1200
    assert sized["dataset_info"][1:] == metadata["dataset_info"][1:]
