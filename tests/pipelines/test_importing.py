"""A folder of pictures becomes a captioned dataset by the same commits as rendered objects."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap import plugins, recipes
from mvcap.config import Config
from mvcap.errors import ConfigChangedError
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.surveying import Outcome
from pipelines.todo import Request

COLOURS = {"chairs": "red", "coffee_tables": "blue", "cups": "green"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures of each of three categories, and three that cannot be used."""
    folder = tmp_path / "photos"
    for category, colour in COLOURS.items():
        (folder / category).mkdir(parents=True)
        Image.new("RGB", (16, 12), colour).save(folder / category / "a.jpg")
        Image.new("RGB", (8, 8), colour).save(folder / category / "b.png")
    (folder / "cups" / "cut.jpg").write_bytes((folder / "cups" / "a.jpg").read_bytes()[:-100])
    (folder / "cups" / "empty.png").touch()
    (folder / "nowhere.png").write_bytes((folder / "cups" / "b.png").read_bytes())
    return folder


@pytest.fixture
def make_config() -> Callable[..., Config]:
    def make(folder: Path, **changes: object) -> Config:
        settings = {
            "sources": [{"source": "images", "options": {"path": str(folder)}}],
            "plan": {"objects_per_shard": 2, "splits": {"train": 1.0}},
            "captions": {"backend": "fake"},
            "run": {"render_workers": 1},
        }
        assignments = [f"{path.replace('__', '.')}={value}" for path, value in changes.items()]
        return recipes.build_config(recipes.apply_overrides(settings, assignments), plugins.options_model)

    return make


def run(config: Config, out: Path, **request: object) -> Outcome:
    return build(config, Request(out, **request), LocalRunner(), lambda _: None)


def rows(out: Path) -> list[dict]:
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "data").glob("*.parquet"))]
    return [row for table in tables for row in table]


def test_every_picture_is_captioned_with_its_category_and_its_own_bytes(photos, make_config, tmp_path):
    outcome = run(make_config(photos), tmp_path / "out")
    assert (outcome.views, outcome.done, outcome.complete) == (6, 6, True)
    found = {row["source_id"]: row for row in rows(tmp_path / "out")}
    for name, row in found.items():
        category, colour = Path(name).parent.name, COLOURS[Path(name).parent.name]
        assert row["caption"] == f"a {colour} picture of a {category.replace('_', ' ')}"
        data = (photos / name).read_bytes()
        assert row["image"]["bytes"] == data
        assert row["asset_sha256"] == hashlib.sha256(data).hexdigest()
        assert (row["width"], row["height"]) == ((16, 12) if name.endswith("jpg") else (8, 8))
        assert [row[column] for column in ("camera_to_world", "azimuth_deg", "fx", "renderer")] == [None] * 4
    assert verify_dataset(tmp_path / "out") == []
    card = (tmp_path / "out/README.md").read_text()
    assert "6 views of 6 objects in 3 categories, each view with a caption." in card
    assert "camera" not in card.partition("\n---\n")[2]


def test_unusable_pictures_are_failures_by_name_and_the_others_complete(photos, make_config, tmp_path):
    outcome = run(make_config(photos), tmp_path / "out")
    failures = {failure.uid.split("-", 1)[1].rsplit("-", 1)[0]: failure for failure in outcome.failures}
    assert {name: (item.stage, item.reason) for name, item in failures.items()} == {
        "cups-cut-jpg": ("import", "bad_asset"),
        "cups-empty-png": ("import", "bad_asset"),
        "nowhere-png": ("list", "bad_asset"),
    }
    status = {
        row["source_id"]: row["status"] for row in pq.read_table(tmp_path / "out/objects.parquet").to_pylist()
    }
    assert status["cups/cut.jpg"] == "failed"
    assert status["cups/a.jpg"] == "done"


def test_slices_equal_the_whole_and_a_finished_dataset_is_left_untouched(photos, make_config, tmp_path):
    config = make_config(photos)
    run(config, tmp_path / "whole")
    for position in range(3):
        run(config, tmp_path / "sliced", part=(position, 3))
    assert rows(tmp_path / "sliced") == rows(tmp_path / "whole")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "sliced").rglob("*") if path.is_file()}
    run(config, tmp_path / "sliced")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_views_of_one_object_stay_together_and_a_missing_one_is_named(make_config, tmp_path):
    folder = tmp_path / "views"
    folder.mkdir()
    lines = ["file_name,category,uid,view_index"]
    for index in (0, 4, 9):
        Image.new("RGB", (8, 8), "red").save(folder / f"{index}.png")
        lines.append(f"{index}.png,chair,thonet,{index}")
    (folder / "metadata.csv").write_text("\n".join([*lines, "gone.png,chair,thonet,11"]))
    outcome = run(make_config(folder), tmp_path / "out")
    assert [(row["source_id"], row["view_index"]) for row in rows(tmp_path / "out")] == [
        ("thonet", 0),
        ("thonet", 4),
        ("thonet", 9),
    ]
    (failure,) = outcome.failures
    assert (failure.view_index, failure.message) == (11, "there is no file 'gone.png'")


def test_more_pictures_append_and_other_captions_keep_the_pictures(photos, make_config, tmp_path):
    out = tmp_path / "out"
    run(make_config(photos), out)
    first = rows(out)
    Image.new("RGB", (8, 8), "red").save(photos / "chairs" / "new.png")
    run(make_config(photos), out)
    assert rows(out)[:6] == first
    assert len(rows(out)) == 7
    other = make_config(photos, captions__prompt="'A picture that is a {category}.'")
    with pytest.raises(ConfigChangedError, match="--recaption"):
        run(other, out)
    run(other, out, render=False, recaption=True)
    assert [row["image"] for row in rows(out)[:6]] == [row["image"] for row in first]
    assert {row["prompt"] for row in rows(out)}.isdisjoint(row["prompt"] for row in first)
    assert verify_dataset(out) == []


def test_transparent_pictures_are_seen_on_the_recorded_background(make_config, tmp_path):
    (tmp_path / "p/chair").mkdir(parents=True)
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "p/chair/glass.png")
    for colour, word in (("#3250c8", "blue"), ("#ffffff", "white")):
        run(make_config(tmp_path / "p", render__background=colour), tmp_path / word)
        (row,) = rows(tmp_path / word)
        assert (row["background"], row["caption"]) == (colour, f"a {word} picture of a chair")
    with pytest.raises(ConfigChangedError, match="background"):
        run(make_config(tmp_path / "p", render__background="#000000"), tmp_path / "white")
