"""Scenes as MVImgNet lays them out, their reconstructions written by COLMAP's own writer; and their dirt."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.errors import NO_POSES, TOO_FEW_VIEWS, AssetFolderError, MissingExtraError
from mvcap.pictures import Picture, UnusableInputError
from mvcap.records import Rejected, SelectedObject
from mvcap.sources import mvimgnet
from mvcap.sources.mvimgnet import Options, expected_views, list_objects, open_pictures

LIST = b"0,bag\r\n2,wahser\r\n203,Toy butterfly \r\n145,Pipe PVC Metal pipe\r\n254,Calendar\r\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "mvimgnet"
    folder.mkdir()
    (folder / "mvimgnet_category.txt").write_bytes(LIST)
    return folder


@pytest.fixture
def scene(root: Path, colmap_scene) -> Path:
    """One scene of 32 frames around an object, in a frame of its own."""
    poses = colmap_scene.similar(
        colmap_scene.ring(32), np.diag([1.0, -1.0, -1.0]), np.array([3.0, 1, 2]), 0.2
    )
    colmap_scene.write_scene(root / "2" / "1a2b3c4d", poses)
    return root / "2" / "1a2b3c4d"


def find(root: Path, **options: object) -> list[Picture]:
    chosen = Options.model_validate({"path": root, **options})
    (item,) = list_objects(chosen)
    assert isinstance(item, SelectedObject)
    return list(open_pictures(chosen)(item))


def refusal(root: Path, **options: object) -> UnusableInputError:
    with pytest.raises(UnusableInputError) as refused:
        find(root, **options)
    return refused.value


def test_scenes_are_listed_by_class_and_instance_without_looking_inside(root):
    for name in ("2/0a", "2/0b", "203/0c", "99/0d", "notes/0e"):
        (root / name).mkdir(parents=True)
    items = list(list_objects(Options(path=root)))
    listed = {i.record.source_id: i.category for i in items if isinstance(i, SelectedObject)}
    assert listed == {"2/0a": "washing machine", "2/0b": "washing machine", "203/0c": "toy butterfly"}
    assert [i.message for i in items if isinstance(i, Rejected)] == ["the list of class names has no 99"]


def test_every_correction_is_of_a_name_that_differs_and_is_given_once():
    path = Path(mvimgnet.__file__).with_name("names.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len({row["listed"].casefold() for row in rows}) == len(rows)
    assert all(row["name"] == row["name"].strip() != "" for row in rows)


def test_the_json_list_of_version_2_is_read_either_way_around(root):
    (root / "mvimgnet_category.txt").unlink()
    (root / "7" / "aa").mkdir(parents=True)
    for text in ('{"7": "Swin ring", "8": "Swin ring"}', '{"Swin ring": 7}'):
        (root / "mvimgnet2_category.json").write_text(text)
        assert [item.category for item in list_objects(Options(path=root))] == ["swim ring"]


@pytest.mark.parametrize("text", [b"x,bag\n", b"\xff\xfe", None])
def test_a_list_that_is_missing_or_damaged_is_named(root, text):
    (root / "mvimgnet_category.txt").unlink()
    if text:
        (root / "mvimgnet_category.txt").write_bytes(text)
    with pytest.raises(AssetFolderError, match=r"mvimgnet_category\.txt"):
        list(list_objects(Options(path=root)))


def test_frames_become_views_seen_from_around_the_object(root, scene):
    pictures = find(root)
    assert [(picture.view_index, picture.name) for picture in pictures] == [
        (index, f"{index + 1:03d}.jpg") for index in range(32)
    ]
    cameras = [picture.camera for picture in pictures]
    np.testing.assert_allclose([camera.azimuth_deg for camera in cameras], np.arange(32) * 11.25, atol=0.1)
    np.testing.assert_allclose([camera.elevation_deg for camera in cameras], 25, atol=0.1)
    assert {(camera.width, camera.height, camera.fx, camera.cy) for camera in cameras} == {(96, 54, 90, 27)}
    assert cameras[0].fov_deg == pytest.approx(2 * np.degrees(np.arctan(48 / 90)))
    assert pictures[3].content.read() == (scene / "images" / "004.jpg").read_bytes()


def test_frames_are_chosen_by_direction_or_by_time(root, colmap_scene):
    bunched = np.concatenate([colmap_scene.ring(30, arc_deg=10), colmap_scene.ring(4)[1:]])
    colmap_scene.write_scene(root / "2" / "aa", bunched)
    by_direction = [picture.view_index for picture in find(root, views=5)]
    assert set(by_direction) >= {30, 31, 32}
    assert [picture.view_index for picture in find(root, views=5, spread="time")] == [0, 8, 16, 24, 32]
    assert len(find(root, views=99)) == 33


def test_the_choice_does_not_change_the_cameras(root, scene):
    everything = {picture.name: picture.camera for picture in find(root)}
    assert all(picture.camera == everything[picture.name] for picture in find(root, views=7))


def test_frames_that_are_not_registered_or_do_not_decode_are_left_out(root, scene, colmap_scene):
    cut = scene / "images" / "005.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    Image.new("RGB", colmap_scene.SIZE).save(scene / "images" / "033.jpg")
    (scene / "images" / "006.jpg").write_bytes(b"")
    kept = [picture.name for picture in find(root)]
    assert len(kept) == 30
    assert not {"005.jpg", "006.jpg", "033.jpg"} & set(kept)


def test_a_scene_with_too_few_valid_frames_is_refused_and_every_cause_is_counted(root, scene):
    (scene / "images" / "001.jpg").unlink()
    (scene / "images" / "002.jpg").write_bytes(b"no picture")
    shutil.copy(scene / "images" / "003.jpg", scene / "images" / "stranger.jpg")
    (scene / "images" / "004.jpg").unlink()
    refused = refusal(root)
    assert refused.reason == TOO_FEW_VIEWS
    assert str(refused) == (
        "29 valid frames, fewer than 30: 2 registered ones are missing, 1 files are not registered, "
        "1 do not decode"
    )
    assert len(find(root, min_views=29)) == 29


def test_a_scene_without_frames_is_refused(root, scene):
    shutil.rmtree(scene / "images")
    assert refusal(root).reason == TOO_FEW_VIEWS


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("damage", ["gone", "empty", "half", "noise", "count"])
def test_a_damaged_reconstruction_is_refused_at_once(root, scene, name, damage):
    path = scene / "sparse" / "0" / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        rng = np.random.default_rng(0)
        written = {
            "empty": b"",
            "half": data[: len(data) // 2],
            "noise": rng.bytes(len(data)),
            "count": b"\xff" * 7 + b"\x0f" + data[8:],
        }
        path.write_bytes(written[damage])
    assert refusal(root).reason == NO_POSES


def test_an_empty_sparse_folder_is_refused_and_of_several_models_the_first_counts(root, scene, colmap_scene):
    shutil.copytree(scene / "sparse" / "0", scene / "sparse" / "1")
    assert len(find(root)) == 32
    shutil.rmtree(scene / "sparse" / "0")
    refused = refusal(root)
    assert (refused.reason, "sparse/0/cameras.bin" in str(refused)) == (NO_POSES, True)


@pytest.mark.parametrize("place", ["inside", "tree/images", "tree"])
def test_masks_are_found_in_both_versions_layouts(root, scene, tmp_path, place):
    tree = tmp_path / "masks"
    folder = {
        "inside": scene / "masks",
        "tree/images": tree / "2" / "1a2b3c4d" / "images",
        "tree": tree / "2" / "1a2b3c4d",
    }[place]
    folder.mkdir(parents=True)
    suffix = ".png" if place == "inside" else ".jpg.png"
    Image.new("L", (96, 54), 255).save(folder / f"003{suffix}")
    options = {"masks": True} | ({} if place == "inside" else {"mask_path": tree})
    masked = [picture.name for picture in find(root, **options) if picture.mask]
    assert masked == ["003.jpg"]
    assert all(picture.mask is None for picture in find(root))


def test_a_scene_that_went_away_is_refused(root, scene):
    options = Options(path=root)
    (item,) = list_objects(options)
    finder = open_pictures(options)
    shutil.rmtree(scene)
    with pytest.raises(UnusableInputError, match="no longer there"):
        finder(item)


@pytest.mark.parametrize(("views", "expected"), [(None, 31), (12, 12), (100, 31)])
def test_the_guess_for_the_progress_bar_needs_no_look_inside(root, views, expected):
    (root / "2" / "aa").mkdir(parents=True)
    options = Options(path=root, views=views)
    (item,) = list_objects(options)
    assert expected_views(options)(item) == expected


def test_names_that_no_table_can_hold_are_rejected(root):
    (root / "2" / "\udcff").mkdir(parents=True)
    (item,) = list_objects(Options(path=root))
    assert "not UTF-8" in item.message


def test_without_pycolmap_the_listing_says_what_to_install(root, monkeypatch):
    monkeypatch.setattr(mvimgnet, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"mvcap\[mvimgnet\]"):
        list(list_objects(Options(path=root)))
