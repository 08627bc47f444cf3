"""Folders and zips as the rendering scripts of Objaverse leave them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.errors import BAD_ASSET
from mvcap.pictures import UnusableInputError
from mvcap.records import Rejected, SelectedObject
from mvcap.sources.rendered_views import Options, list_objects, open_pictures
from render.cameras import Intrinsics, Viewpoint, make_camera

PUBLISHED = np.array(
    [
        [6.07966840e-01, 7.93962419e-01, 3.18103019e-08, 2.10451518e-07],
        [4.75670159e-01, -3.64238620e-01, 8.00667346e-01, -5.96046448e-08],
        [6.35699809e-01, -4.86779213e-01, -5.99109232e-01, -1.66008198e00],
    ]
)
"""The matrix that the script's own documentation shows."""


class Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def png() -> bytes:
    Image.new("RGBA", (16, 16), "red").save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def npy(array: np.ndarray, **options: object) -> bytes:
    np.save(buffer := io.BytesIO(), array, **options)
    return buffer.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text("uid,category\na,chair\nb,cup\n")
    (tmp_path / "views").mkdir()
    return tmp_path / "views"


def folder(root: Path, uid: str, files: dict[str, bytes]) -> None:
    (root / uid).mkdir()
    for name, data in files.items():
        (root / uid / name).write_bytes(data)


def find(root: Path):
    options = Options(path=root, categories=root.parent / "table.csv")
    (item,) = (item for item in list_objects(options) if isinstance(item, SelectedObject))
    return open_pictures(options)(item)


def world_to_camera(viewpoint: Viewpoint, distance: float) -> np.ndarray:
    pose = np.array(make_camera(viewpoint, distance, INTRINSICS).camera_to_world).reshape(4, 4)
    return np.linalg.inv(pose)[:3].astype(np.float32)


INTRINSICS = Intrinsics.from_lens(lens_mm=35, sensor_mm=32, resolution=512)


def test_a_pose_is_the_camera_that_our_renderer_would_place_there(root):
    wanted = make_camera(Viewpoint(211, 37), 1.7, INTRINSICS)
    folder(root, "a", {"000.png": png(), "000.npy": npy(world_to_camera(Viewpoint(211, 37), 1.7))})
    (picture,) = find(root)
    assert (picture.camera.azimuth_deg, picture.camera.elevation_deg) == pytest.approx((211, 37), abs=1e-4)
    assert picture.camera.distance == pytest.approx(1.7)
    assert (picture.camera.fx, picture.camera.fov_deg) == pytest.approx((wanted.fx, wanted.fov_deg))
    np.testing.assert_allclose(picture.camera.camera_to_world, wanted.camera_to_world, atol=1e-6)


def test_the_published_example_stands_below_the_object_and_looks_at_it(root):
    folder(root, "a", {"000.png": png(), "000.npy": npy(PUBLISHED)})
    camera = find(root)[0].camera
    assert camera.distance == pytest.approx(1.66, abs=0.01)
    assert camera.elevation_deg == pytest.approx(np.degrees(np.arcsin(-0.5991)), abs=0.1)
    back = np.array(camera.camera_to_world).reshape(4, 4)[:3, 2]
    position = np.array(camera.camera_to_world).reshape(4, 4)[:3, 3]
    np.testing.assert_allclose(position / camera.distance, back, atol=1e-4)


def test_without_poses_pictures_have_no_cameras(root):
    folder(root, "a", {"000.png": png(), "011.png": png(), "metadata.json": b"{}"})
    assert [(p.view_index, p.camera, p.rendered) for p in find(root)] == [(0, None, True), (11, None, True)]


def test_a_zip_gives_what_its_folder_would(root):
    files = {f"{index:03d}.png": png() for index in range(3)} | {"001.npy": npy(PUBLISHED)}
    with zipfile.ZipFile(root / "b.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(f"b/{name}", data)
    pictures = find(root)
    assert [(p.view_index, p.content.read(), p.camera is None) for p in pictures] == [
        (0, png(), True),
        (1, png(), False),
        (2, png(), True),
    ]


def test_a_damaged_zip_refuses_its_object(root):
    (root / "b.zip").write_bytes(b"PK no zip")
    with pytest.raises(UnusableInputError, match=r"b\.zip"):
        find(root)


def test_objects_without_a_category_are_rejected_and_a_folder_beside_its_zip_counts_once(root):
    folder(root, "a", {"000.png": png()})
    (root / "a.zip").write_bytes(b"x")
    folder(root, "unknown", {"000.png": png()})
    items = list(list_objects(Options(path=root, categories=root.parent / "table.csv")))
    assert [item.record.source_id for item in items if isinstance(item, SelectedObject)] == ["a"]
    assert [item.message for item in items if isinstance(item, Rejected)] == [
        "table.csv gives 'unknown' no category"
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no array",
        npy(np.eye(3)),
        npy(np.full((3, 4), np.nan)),
        npy(np.diag([1.0, 1, -1, 1])[:3]),
        npy(np.zeros((3, 4), int)),
        npy(PUBLISHED)[:-8],
        npy(np.zeros((200, 200))),
    ],
)
def test_a_pose_that_is_none_rejects_its_picture_only(root, data):
    folder(root, "a", {"000.png": png(), "000.npy": data, "001.png": png()})
    broken, whole = find(root)
    with pytest.raises(UnusableInputError, match="its pose") as refused:
        broken.content.read()
    assert refused.value.reason == BAD_ASSET
    assert whole.content.read() == png()


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [(b"}", b" "), (b"(3, 4), }      ", b"(99999999999,)}"), (b"\x93NUMPY", b"PK\x03\x04xx")],
    ids=["header", "shape", "magic"],
)
def test_a_damaged_pose_is_a_reason_and_no_crash(root, whole, damaged):
    pose = npy(np.eye(4)[:3])
    assert whole in pose
    folder(root, "a", {"000.png": png(), "000.npy": pose.replace(whole, damaged)})
    (picture,) = find(root)
    with pytest.raises(UnusableInputError, match="no array that can be read"):
        picture.content.read()


def test_a_pickled_pose_is_never_executed(root):
    marker = root.parent / "executed"
    data = npy(np.array([Marker(marker)], dtype=object), allow_pickle=True)
    folder(root, "a", {"000.png": png(), "000.npy": data})
    (picture,) = find(root)
    with pytest.raises(UnusableInputError, match="allow_pickle=False"):
        picture.content.read()
    assert not marker.exists()
