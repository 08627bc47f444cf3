"""Corpora with cameras, masks and dirt become datasets; what is unusable has a reason."""

import io
import runpy
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap import plugins, recipes
from mvcap.config import Config
from mvcap.errors import ConfigChangedError
from mvcap.pictures import FileContent, Picture
from mvcap.poses import make_camera
from mvcap.records import ObjectRecord, Rejected, SelectedObject, View
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.exporting import export_dataset
from pipelines.importing import import_picture
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

SCENES = runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "colmap_scene.py"))


def configure(source: str, **options: object) -> Config:
    settings = {
        "sources": [{"source": source, "options": options}],
        "plan": {"objects_per_shard": 2, "splits": {"train": 1.0}},
        "captions": {"backend": "fake", "synonyms": "table"},
        "run": {"render_workers": 1},
    }
    return recipes.build_config(settings, plugins.options_model)


def run(config: Config, out: Path, **request: object):
    return build(config, Request(out, **request), LocalRunner(), lambda _: None)


def rows(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good scene with masks, and one for each kind of dirt that MVImgNet is known for."""
    root = tmp_path_factory.mktemp("mvimgnet")
    (root / "mvimgnet_category.txt").write_bytes(b"2,wahser\r\n44,bicycle\r\n")
    SCENES["write_scene"](root / "2" / "good", SCENES["ring"](32))
    for name in SCENES["write_scene"](root / "44" / "few", SCENES["ring"](32))[:5]:
        (root / "44" / "few" / "images" / name).unlink()
    shutil.copytree(root / "2" / "good", root / "44" / "sparse_empty")
    shutil.rmtree(root / "44" / "sparse_empty" / "sparse" / "0")
    shutil.copytree(root / "2" / "good", root / "44" / "images_gone")
    shutil.rmtree(root / "44" / "images_gone" / "images")
    (root / "2" / "good" / "masks").mkdir()
    for index in range(32):
        path = root / "2" / "good" / "masks" / f"{index + 1:03d}.jpg.png"
        levels = np.zeros((54, 96), np.uint8)
        levels[:27] = 255
        Image.fromarray(levels).save(path)
    return root


def test_dirty_scenes_are_rejected_with_their_reasons_and_the_good_one_completes(scenes, tmp_path):
    out = tmp_path / "out"
    outcome = run(configure("mvimgnet", path=str(scenes)), out)
    assert (outcome.done, outcome.views, outcome.complete) == (1, 32, True)
    failures = pq.read_table(out / "failures.parquet").to_pylist()
    assert {row["uid"].split("-")[2]: (row["stage"], row["reason"]) for row in failures} == {
        "few": ("import", "too_few_views"),
        "sparse": ("import", "no_poses"),
        "images": ("import", "too_few_views"),
    }
    assert verify_dataset(out, deep=True) == []


def test_cameras_and_masks_are_stored_beside_the_frames_own_bytes(scenes, tmp_path):
    run(configure("mvimgnet", path=str(scenes), masks=True, views=8), tmp_path / "out")
    found = rows(tmp_path / "out")
    assert len(found) == 8
    for row in found:
        name = f"{row['view_index'] + 1:03d}.jpg"
        assert row["image"]["bytes"] == (scenes / "2/good/images" / name).read_bytes()
        assert row["azimuth_deg"] == pytest.approx(11.25 * row["view_index"], abs=0.1)
        assert row["foreground_fraction"] == pytest.approx(0.5)
        assert np.asarray(Image.open(io.BytesIO(row["mask"]["bytes"]))).shape == (54, 96)
        assert row["category"] == "washing machine"
    card = (tmp_path / "out/README.md").read_text()
    assert "each view with a camera and a caption." in card
    assert "| mvimgnet | estimated by COLMAP; up, centre and scale" in card


def test_which_frames_are_kept_is_part_of_the_settings_and_where_they_lie_is_not(scenes, tmp_path):
    out = tmp_path / "out"
    run(configure("mvimgnet", path=str(scenes), views=8), out)
    with pytest.raises(ConfigChangedError, match=r"mvimgnet\.views: 8 -> 9"):
        run(configure("mvimgnet", path=str(scenes), views=9), out)
    moved = tmp_path / "moved"
    shutil.copytree(scenes, moved)
    before = {path: path.read_bytes() for path in (out / "data").iterdir()}
    run(configure("mvimgnet", path=str(moved), views=8), out)
    assert {path: path.read_bytes() for path in (out / "data").iterdir()} == before


def test_renders_keep_their_alpha_on_the_recorded_background_and_blank_ones_are_rejected(tmp_path):
    folder = tmp_path / "views" / "a"
    folder.mkdir(parents=True)
    rgba = np.zeros((16, 16, 4), np.uint8)
    Image.fromarray(rgba).save(folder / "000.png")
    rgba[4:12, 4:12] = (255, 0, 0, 255)
    Image.fromarray(rgba).save(folder / "001.png")
    (tmp_path / "table.csv").write_text("uid,category\na,cup\n")
    config = configure("rendered_views", path=str(tmp_path / "views"), categories=str(tmp_path / "table.csv"))
    outcome = run(config, tmp_path / "out")
    assert [(item.view_index, item.reason) for item in outcome.failures] == [(0, "empty_render")]
    (row,) = rows(tmp_path / "out")
    assert (row["background"], row["foreground_fraction"], row["flags"]) == (
        "#ffffff",
        pytest.approx(0.25),
        [],
    )
    assert row["caption"] == "a pink picture of a cup"  # red on white


def test_what_imagenet_is_known_for_becomes_plain_pictures_or_a_reason(tmp_path):
    """It holds 22 CMYK JPEGs and a PNG that is named as a JPEG; the others are what else may turn up."""
    folder = tmp_path / "imagenet/n01440764"
    folder.mkdir(parents=True)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(folder / "cmyk.JPEG", "JPEG")
    Image.new("RGB", (8, 8), "red").save(folder / "disguised.JPEG", "PNG")
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(folder / "deep.png")
    frames[0].save(folder / "moving.png", "PNG", save_all=True, append_images=frames[1:])
    Image.new("F", (8, 8)).save(folder / "floats.png", "TIFF")
    outcome = run(configure("imagenet", path=str(folder.parent)), tmp_path / "out")
    found = {row["source_id"].split("/")[1]: row for row in rows(tmp_path / "out")}
    assert {name: row["caption"] for name, row in found.items()} == {
        "cmyk.JPEG": "a red picture of a tench",
        "disguised.JPEG": "a red picture of a tench",
        "deep.png": "a white picture of a tench",
    }
    pixels = {name: Image.open(io.BytesIO(row["image"]["bytes"])) for name, row in found.items()}
    assert {image.mode for image in pixels.values()} <= {"RGB", "L"}
    assert found["disguised.JPEG"]["image"]["bytes"] == (folder / "disguised.JPEG").read_bytes()
    assert {item.reason for item in outcome.failures} == {"bad_asset"}
    assert len(outcome.failures) == 2


def test_what_was_exported_as_mvcap_opens_again_with_the_same_pictures(models, fake_config, tmp_path):
    run(fake_config(models("chairs/a", "cups/b"), render__image__format="png"), tmp_path / "first")
    export_dataset(tmp_path / "first", "mvcap-json", tmp_path / "released", [])
    run(configure("mvcap_release", path=str(tmp_path / "released")), tmp_path / "second")
    first, second = (
        {(row["category"], row["view_index"]): row["image"]["bytes"] for row in rows(tmp_path / name)}
        for name in ("first", "second")
    )
    assert len(first) == 6
    assert second == first


def record() -> SelectedObject:
    return SelectedObject(ObjectRecord("u", "s", "i", "n", "/a", None, None, None), "cup")


def picture(path: Path, size: tuple[int, int], camera_size: tuple[int, int]) -> Picture:
    Image.new("RGB", size).save(path)
    pose = np.eye(4)
    pose[2, 3] = 2
    width, height = camera_size
    camera = make_camera(pose, width=width, height=height, fx=90, fy=90, cx=width / 2, cy=height / 2)
    return Picture(0, path.name, FileContent(path), camera)


def test_intrinsics_are_those_of_the_picture_that_is_stored(tmp_path):
    view = import_picture(record(), picture(tmp_path / "a.png", (48, 27), (96, 54)), background="#ffffff")
    assert isinstance(view, View)
    assert (view.camera.width, view.camera.height, view.camera.fx, view.camera.cx) == (48, 27, 45, 24)


def test_a_picture_that_its_camera_cannot_have_taken_is_rejected(tmp_path):
    rejected = import_picture(record(), picture(tmp_path / "a.png", (54, 96), (96, 54)), background="#ffffff")
    assert isinstance(rejected, Rejected)
    assert rejected.message == "'a.png' is 54 x 96, its camera 96 x 54"
