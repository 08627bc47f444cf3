"""Sources of 3D objects and of pictures in one dataset: each object's views come as its source gives them."""

import json
import re
from pathlib import Path

import PIL
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap import plugins, recipes
from mvcap.commits import RENDER
from mvcap.config import Config
from mvcap.errors import ConfigChangedError, UsageError
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines import rendering
from pipelines.build_all import build
from pipelines.reproducing import reproduce_view
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request
from pipelines.viewing import MixedWorker, expected_views, view_settings


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two objects of three and one pictures, and one that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    lines = ["file_name,category,uid"]
    for name in ("mug/1", "mug/2", "mug/3", "cup/1"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (16, 12), "green").save(folder / f"{name}.png")
        lines.append(f"{name}.png,{name[:3]},{name[:3]}")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "metadata.csv").write_text("\n".join([*lines, "broken.png,cup,broken"]))
    return folder


@pytest.fixture
def mixed(photos, models) -> Config:
    """Two models and three objects of pictures, one object a shard."""
    settings = {
        "sources": [
            {"source": "folder", "options": {"path": str(models("chairs/a", "lamps/b"))}},
            {"source": "images", "options": {"path": str(photos)}},
        ],
        "plan": {"objects_per_shard": 1, "splits": {"train": 1.0}},
        "render": {"backend": "fake", "views": 3, "resolution": 32},
        "captions": {"backend": "fake", "synonyms": "table"},
        "run": {"render_workers": 1},
    }
    return recipes.build_config(settings, plugins.options_model)


def run(config: Config, out: Path, **request: object):
    return build(config, Request(out, **request), LocalRunner(), lambda _: None)


def rows(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_objects_are_rendered_and_pictures_imported_in_one_build(mixed, tmp_path):
    out = tmp_path / "out"
    outcome = run(mixed, out)
    assert (outcome.views, outcome.done, outcome.complete) == (10, 4, True)
    found = rows(out)
    assert {(row["source"], row["category"], row["renderer"] is None) for row in found} == {
        ("folder", "chairs", False),
        ("folder", "lamps", False),
        ("images", "mug", True),
        ("images", "cup", True),
    }
    assert all((row["camera_to_world"] is None) == (row["source"] == "images") for row in found)
    assert all(row["caption"] for row in found)
    assert [(item.stage, item.reason) for item in outcome.failures] == [("import", "bad_asset")]
    assert verify_dataset(out, deep=True) == []


def test_the_card_tells_of_both(mixed, tmp_path):
    run(mixed, tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert "10 views of 4 objects in 4 categories, each view with a caption, 6 with a camera." in card
    assert "| pictures | those that were not rendered, as they came |" in card
    assert "| renderer | fake" in card
    assert "## Cameras" in card


def test_a_shard_records_what_made_it_and_nothing_else(mixed, tmp_path):
    out = tmp_path / "out"
    run(mixed, out)
    store = Store(out)
    makers = {
        store.read_objects(shard)[0].record.source: store.read_commit(RENDER, shard.index).made_by
        for shard in store.require_plan().shards
    }
    assert makers["images"].keys() == {"name", "pillow"}
    assert makers["folder"]["name"] == "fake"
    assert "pillow" not in makers["folder"]


def test_a_shard_of_both_kinds_records_both_and_the_card_names_the_renderer(mixed, tmp_path):
    out = tmp_path / "out"
    together = mixed.plan.model_copy(update={"objects_per_shard": 9})
    run(mixed.model_copy(update={"plan": together}), out)
    made_by = Store(out).read_commit(RENDER, 0).made_by
    assert (made_by["name"], made_by["pictures"]) == ("fake", PIL.__version__)
    assert made_by["pictures"] not in (out / "README.md").read_text()


def test_no_renderer_is_opened_before_the_first_3d_object(mixed, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(mixed, out)
    items = Store(out).read_objects()
    opened = []
    original = rendering.open_renderer
    monkeypatch.setattr(rendering, "open_renderer", lambda config: opened.append(1) or original(config))
    with MixedWorker(mixed) as worker:
        list(worker([item for item in items if item.record.source == "images"]))
        assert opened == []
        list(worker(items))
        list(worker(items))
    assert opened == [1]


def test_settings_of_both_kinds_are_recorded_and_guarded(mixed, tmp_path):
    out = tmp_path / "out"
    run(mixed, out)
    settings = view_settings(mixed)
    assert (settings["views"], settings["pictures"]) == (3, "as they are")
    other = mixed.model_copy(update={"render": mixed.render.model_copy(update={"views": 4})})
    with pytest.raises(ConfigChangedError, match="views: 3 -> 4"):
        run(other, out)
    rendered_only = mixed.model_copy(update={"sources": mixed.sources[:1]})
    with pytest.raises(ConfigChangedError, match="pictures: 'as they are' -> None"):
        run(rendered_only, out)


def test_an_interrupted_build_goes_on_to_the_same_content(mixed, tmp_path):
    run(mixed, tmp_path / "whole")
    for position in (1, 0):
        run(mixed, tmp_path / "sliced", part=(position, 2))
    assert rows(tmp_path / "sliced") == rows(tmp_path / "whole")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "sliced").rglob("*") if path.is_file()}
    run(mixed, tmp_path / "sliced")
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_progress_counts_each_object_by_its_source(mixed, tmp_path, monkeypatch):
    totals = {}
    monkeypatch.setattr(
        "pipelines.build_all.observing", lambda wanted, labels: totals.update(wanted, labels=labels)
    )
    with pytest.raises(TypeError):  # the observer is none: nothing is run
        run(mixed, tmp_path / "out")
    assert totals == {"render": 2 * 3 + 3 + 1 + 1, "caption": 11, "labels": {"render": "render, import"}}


def test_a_rendered_view_is_made_again_and_an_imported_one_is_not(mixed, tmp_path):
    out = tmp_path / "out"
    run(mixed, out)
    uids = {row["source"]: row["uid"] for row in rows(out)}
    assert reproduce_view(mixed, out, uids["folder"], 1).equal
    with pytest.raises(UsageError, match="were not rendered"):
        reproduce_view(mixed, out, uids["images"], 0)


def test_two_folders_of_pictures_are_told_apart_by_where_their_pictures_lie(mixed, photos, tmp_path):
    other = tmp_path / "other"
    (other / "vases").mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(other / "vases" / "v.png")
    options = type(mixed.sources[1].options)(path=other)
    more = mixed.sources[1].model_copy(update={"options": options})
    config = mixed.model_copy(update={"sources": [*mixed.sources, more]})
    outcome = run(config, tmp_path / "out")
    assert outcome.done == 5
    elsewhere = config.model_copy(update={"sources": [*mixed.sources[:1], more, more]})
    lost = next(item for item in Store(tmp_path / "out").read_objects() if item.category == "mug")
    assert expected_views(elsewhere)(lost) == 1
    (red,) = [row for row in rows(tmp_path / "out") if row["category"] == "vases"]
    assert "red" in red["caption"]


@pytest.mark.ray
def test_ray_builds_the_same(mixed, tmp_path):
    from pipelines.runners.ray import RayRunner

    run(mixed, tmp_path / "local")
    build(mixed, Request(tmp_path / "ray"), RayRunner(), lambda _: None)
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
    hashes = [
        {
            re.sub(r"^.*/", "", str(path)): json.loads(path.read_bytes())["sha256"]
            for path in (tmp_path / name).glob("_mvcap/commits/render/*.json")
        }
        for name in ("ray", "local")
    ]
    assert hashes[0] == hashes[1]
