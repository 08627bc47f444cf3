"""One command builds one dataset from 3D objects and from pictures of several corpora."""

import io
import runpy
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from mvcap.verify import verify_dataset
from render.cameras import Viewpoint, look_at

SCENES = runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "colmap_scene.py"))


@pytest.fixture
def corpora(tmp_path: Path, models) -> list[dict]:
    """Sections of two models, two scenes of MVImgNet, a rendered object and two photographs."""
    SCENES["write_scene"](tmp_path / "mvimgnet" / "2" / "good", SCENES["ring"](32))
    SCENES["write_scene"](tmp_path / "mvimgnet" / "2" / "short", SCENES["ring"](9))
    (tmp_path / "mvimgnet" / "mvimgnet_category.txt").write_bytes(b"2,wahser\r\n")
    rendered = tmp_path / "rendered" / "0a"
    rendered.mkdir(parents=True)
    rgba = np.zeros((32, 32, 4), np.uint8)
    rgba[8:24, 8:24] = (200, 40, 30, 255)
    for index in range(3):
        Image.fromarray(rgba).save(rendered / f"{index:03d}.png")
        np.save(rendered / f"{index:03d}.npy", np.linalg.inv(look_at(Viewpoint(90 * index, 20), 1.5))[:3])
    (tmp_path / "table.csv").write_text("uid,category\n0a,mug\n")
    for name in ("lamp/1.jpg", "lamp/2.jpg"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), "blue").save(tmp_path / "photos" / name)
    table = str(tmp_path / "table.csv")
    return [
        {"source": "folder", "options": {"path": str(models("chairs/a", "chairs/b"))}},
        {"source": "mvimgnet", "options": {"path": str(tmp_path / "mvimgnet"), "views": 6}},
        {"source": "rendered_views", "options": {"path": str(rendered.parent), "categories": table}},
        {"source": "images", "options": {"path": str(tmp_path / "photos")}},
    ]


def build(mvcap, corpora: list[dict], tmp_path: Path, *, render: dict, runner: str):
    settings = {
        "name": "mixed",
        "sources": corpora,
        "plan": {"objects_per_shard": 2, "splits": {"train": 1.0}},
        "render": {"views": 4, "resolution": 48, **render},
        "captions": {"backend": "fake", "synonyms": "table"},
    }
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(settings))
    out = tmp_path / runner
    done = mvcap("build-all", "--config", tmp_path / "mixed.yaml", "--out", out, "--runner", runner)
    assert done.returncode == 3, done.stderr
    return out, done.stderr


def rows(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]


def check(out: Path, said: str) -> None:
    found = rows(out)
    assert Counter(row["source"] for row in found) == {
        "folder": 8,
        "mvimgnet": 6,
        "rendered_views": 3,
        "images": 2,
    }
    assert {row["source"] for row in found if row["camera_to_world"] is None} == {"images"}
    assert {row["source"] for row in found if row["renderer"] is not None} == {"folder"}
    assert all(row["caption"] and Image.open(io.BytesIO(row["image"]["bytes"])) for row in found)
    (failure,) = pq.read_table(out / "failures.parquet").to_pylist()
    assert failure["reason"] == "too_few_views"
    assert "render, import: " in said


def test_one_command_builds_objects_and_pictures_into_one_dataset(mvcap, corpora, tmp_path):
    out, said = build(mvcap, corpora, tmp_path, render={"backend": "fake"}, runner="local")
    check(out, said)
    assert verify_dataset(out) == []


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.blender
def test_blender_and_ray_do_it_too(mvcap, corpora, tmp_path):
    out, said = build(mvcap, corpora, tmp_path, render={"preset": "fast", "samples": 1}, runner="ray")
    check(out, said)
    assert {row["renderer"].split()[0] for row in rows(out) if row["renderer"]} == {"blender"}
