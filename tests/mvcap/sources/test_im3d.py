"""Both layouts of IM3D: numbered pictures, and scenes with NeRF's transforms."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.errors import BAD_ASSET
from mvcap.pictures import UnusableInputError
from mvcap.poses import FRAMED_HALF_EXTENT
from mvcap.records import SelectedObject
from mvcap.sources.im3d import Options, list_objects, open_pictures
from render.cameras import Viewpoint, look_at

ANGLE = 0.6911112


def write_scene(folder: Path, counts: dict[str, int], **changes: object) -> None:
    azimuth = 0
    for split, count in counts.items():
        (folder / split).mkdir(parents=True)
        frames = []
        for index in range(count):
            Image.new("RGBA", (8, 8), "red").save(folder / split / f"r_{index}.png")
            matrix = look_at(Viewpoint(azimuth, 30), 4.03)
            frames.append(
                {"file_path": f"./{split}/r_{index}", "transform_matrix": matrix.tolist()} | changes
            )
            azimuth += 10
        text = json.dumps({"camera_angle_x": ANGLE, "frames": frames})
        (folder / f"transforms_{split}.json").write_text(text)


def find(root: Path, **options: object):
    chosen = Options.model_validate({"path": root, **options})
    (item,) = list_objects(chosen)
    return open_pictures(chosen)(item)


def test_objects_are_found_in_both_layouts_with_the_category_that_can_be_told(tmp_path):
    for name in ("airliner_012/003.png", "cups/mug-a/000.png"):
        (tmp_path / "c" / name).parent.mkdir(parents=True)
        Image.new("RGBA", (8, 8)).save(tmp_path / "c" / name)
    write_scene(tmp_path / "c" / "Sports cars" / "n1", {"train": 1})
    write_scene(tmp_path / "c" / "77", {"train": 1})
    (tmp_path / "table.csv").write_text("object,category\ncups/mug-a,coffee mug\n")
    items = list(list_objects(Options(path=tmp_path / "c", categories=tmp_path / "table.csv")))
    listed = {item.record.source_id: item.category for item in items if isinstance(item, SelectedObject)}
    assert listed == {"airliner_012": "airliner", "cups/mug-a": "coffee mug", "Sports cars/n1": "sports cars"}
    assert [item.message for item in items if not isinstance(item, SelectedObject)] == [
        "'77' has no category: name one in options.categories"
    ]


def test_numbered_pictures_keep_their_numbers_and_have_no_cameras(tmp_path):
    for name in ("010.png", "002.png", "100.png"):
        path = tmp_path / "cup" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGBA", (8, 8)).save(path)
    (tmp_path / "cup" / "notes.txt").write_text("x")
    assert [(picture.view_index, picture.camera) for picture in find(tmp_path)] == [
        (2, None),
        (10, None),
        (100, None),
    ]


def test_a_scenes_cameras_keep_their_angles_and_frame_as_much_as_ours(tmp_path):
    write_scene(tmp_path / "cup", {"train": 3, "val": 1, "test": 2})
    pictures = find(tmp_path)
    assert [picture.name for picture in pictures] == [
        *("./train/r_0", "./train/r_1", "./train/r_2", "./val/r_0", "./test/r_0", "./test/r_1"),
    ]
    cameras = [picture.camera for picture in pictures]
    np.testing.assert_allclose([camera.azimuth_deg for camera in cameras], [0, 10, 20, 30, 40, 50], atol=1e-5)
    np.testing.assert_allclose([camera.elevation_deg for camera in cameras], 30)
    assert cameras[0].fov_deg == pytest.approx(np.degrees(ANGLE))
    assert cameras[0].distance * np.tan(ANGLE / 2) == pytest.approx(FRAMED_HALF_EXTENT)
    assert pictures[4].content.read() == (tmp_path / "cup/test/r_0.png").read_bytes()


def test_a_matrix_with_a_scale_gives_the_same_camera(tmp_path):
    matrix = look_at(Viewpoint(0, 30), 4.03)
    scaled = matrix.copy()
    scaled[:3, :3] *= 0.5
    write_scene(tmp_path / "a" / "cup", {"train": 1})
    write_scene(tmp_path / "b" / "cup", {"train": 1}, transform_matrix=scaled.tolist())
    first, second = (find(tmp_path / name)[0].camera for name in "ab")
    np.testing.assert_allclose(first.camera_to_world, second.camera_to_world)


def test_missing_frames_and_frames_outside_the_scene_have_no_picture(tmp_path):
    write_scene(tmp_path / "c" / "cup", {"train": 2})
    (tmp_path / "c/cup/train/r_1.png").unlink()
    assert [picture.content is None for picture in find(tmp_path / "c")] == [False, True]
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    write_scene(tmp_path / "d" / "cup", {"train": 1}, file_path="../../secret")
    (picture,) = find(tmp_path / "d")
    with pytest.raises(UnusableInputError, match="no path below"):
        picture.content.read()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"frames": []}',
        '{"frames": [], "camera_angle_x": 1, "w": Infinity}',
        '{"frames": [{"file_path": "a"}], "camera_angle_x": 1}',
        '{"frames": [{"file_path": "a", "transform_matrix": [[1]]}], "camera_angle_x": 1}',
        json.dumps(
            {"frames": [{"file_path": "a", "transform_matrix": np.eye(4).tolist()}], "camera_angle_x": 9}
        ),
        json.dumps(
            {
                "frames": [{"file_path": "a", "transform_matrix": np.zeros((4, 4)).tolist()}],
                "camera_angle_x": 1,
            }
        ),
    ],
)
def test_damaged_transforms_refuse_the_scene(tmp_path, text):
    (tmp_path / "cup").mkdir()
    (tmp_path / "cup" / "transforms_train.json").write_text(text)
    with pytest.raises(UnusableInputError) as refused:
        find(tmp_path)
    assert refused.value.reason == BAD_ASSET
