"""Annotations as CO3D writes them: PyTorch3D's viewpoints, gzipped lists, files that may be missing."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.errors import NO_POSES, TOO_FEW_VIEWS, AssetFolderError
from mvcap.pictures import UnusableInputError
from mvcap.poses import make_camera
from mvcap.sources.co3d import Options, frame_of, list_objects, open_pictures
from render.cameras import project

SIZE = (60, 40)  # width, height


def viewpoint(turn_deg: float, **changes: object) -> dict:
    """A camera 3 away that looks at the origin, level, as PyTorch3D writes it: X_camera = X_world R + T."""
    turn = np.radians(turn_deg)
    left, up = np.array([-np.cos(turn), 0, np.sin(turn)]), np.array([0.0, 1, 0])
    forward = np.cross(left, up)
    rotation = np.stack([left, up, forward], axis=1)
    return {
        "R": rotation.tolist(),
        "T": [0.0, 0.0, 3.0],
        "focal_length": [2.5, 2.5],
        "principal_point": [0.1, -0.05],
        "intrinsics_format": "ndc_isotropic",
    } | changes


def frame(index: int, **changes: object) -> dict:
    name = f"apple/1_2_3/images/frame{index:06d}.jpg"
    return {
        "sequence_name": "1_2_3",
        "frame_number": index,
        "image": {"path": name, "size": [SIZE[1], SIZE[0]]},
        "mask": {"path": f"apple/1_2_3/masks/frame{index:06d}.png", "mass": 9.0},
        "viewpoint": viewpoint(12 * index),
        "depth": {"path": "unread"},
    } | changes


@pytest.fixture
def root(tmp_path: Path):
    """Write a corpus of one sequence of 30 frames; the argument changes its annotations."""

    def write(frames: list[dict] | None = None) -> Path:
        frames = [frame(index) for index in range(30)] if frames is None else frames
        folder = tmp_path / "co3d" / "apple"
        for index in range(30):
            for kind, mode, suffix in (("images", "RGB", "jpg"), ("masks", "L", "png")):
                path = folder / "1_2_3" / kind / f"frame{index:06d}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new(mode, SIZE, 200 if mode == "L" else "red").save(path)
        sequences = [{"sequence_name": "1_2_3", "category": "apple", "viewpoint_quality_score": 1.2}]
        for name, content in (("frame", frames), ("sequence", sequences)):
            (folder / f"{name}_annotations.jgz").write_bytes(gzip.compress(json.dumps(content).encode()))
        return tmp_path / "co3d"

    return write


def find(root: Path, **options: object):
    chosen = Options.model_validate({"path": root, **options})
    (item,) = list_objects(chosen)
    assert item.record.source_id == "apple/1_2_3"
    return open_pictures(chosen)(item)


@pytest.mark.parametrize("intrinsics_format", ["ndc_isotropic", "ndc_norm_image_bounds", None])
def test_a_point_falls_where_pytorch3d_puts_it(intrinsics_format):
    described = viewpoint(25, intrinsics_format=intrinsics_format)
    point = np.array([0.3, -0.2, 0.4])
    left, up, forward = point @ np.array(described["R"]) + described["T"]
    ndc_x, ndc_y = 2.5 * left / forward + 0.1, 2.5 * up / forward - 0.05
    width, height = SIZE
    short = min(SIZE)
    per_x, per_y = (short, short) if intrinsics_format == "ndc_isotropic" else SIZE
    wanted = (width / 2 - ndc_x * per_x / 2, height / 2 - ndc_y * per_y / 2)

    found = frame_of(frame(0, viewpoint=described))
    camera = make_camera(
        found.camera_to_world, width=width, height=height, fx=found.fx, fy=found.fy, cx=found.cx, cy=found.cy
    )
    np.testing.assert_allclose(project(point[None], camera)[0], wanted)


def test_a_sequence_turns_once_around_its_object_and_starts_at_azimuth_0(root):
    pictures = find(root())
    azimuths = [picture.camera.azimuth_deg for picture in pictures]
    assert azimuths[0] == pytest.approx(0, abs=1e-6)
    steps = (np.diff(azimuths) + 180) % 360 - 180
    np.testing.assert_allclose(np.abs(steps), 12, atol=0.1)
    assert np.abs([picture.camera.elevation_deg for picture in pictures]).max() < 0.1


def test_masks_are_given_where_they_are_wanted_and_there(root):
    folder = root()
    (folder / "apple/1_2_3/masks/frame000004.png").unlink()
    assert all(picture.mask is None for picture in find(folder))
    masked = {picture.view_index for picture in find(folder, masks=True) if picture.mask}
    assert masked == set(range(30)) - {4}


def test_missing_and_cut_frames_count_against_the_sequence(root):
    folder = root()
    (folder / "apple/1_2_3/images/frame000004.jpg").unlink()
    cut = folder / "apple/1_2_3/images/frame000009.jpg"
    cut.write_bytes(cut.read_bytes()[:-50])
    with pytest.raises(
        UnusableInputError, match="28 valid frames, fewer than 30: 1 of 30 are missing, 1 do"
    ) as refused:
        find(folder)
    assert refused.value.reason == TOO_FEW_VIEWS
    few = find(folder, min_views=5, views=3, spread="time")
    assert [picture.view_index for picture in few] == [0, 16, 29]


def test_a_path_that_leads_out_of_the_corpus_is_a_missing_frame(root, tmp_path):
    Image.new("RGB", SIZE).save(tmp_path / "secret.jpg")
    hostile = frame(0, image={"path": "../secret.jpg", "size": [SIZE[1], SIZE[0]]})
    folder = root([hostile, *(frame(index) for index in range(1, 30))])
    assert [picture.view_index for picture in find(folder, min_views=1)] == list(range(1, 30))


def test_a_name_that_no_file_has_and_a_mask_that_is_none_do_no_harm(root):
    long = frame(0, image={"path": "x" * 300, "size": [SIZE[1], SIZE[0]]})
    folder = root([long, frame(1, mask="none"), *(frame(index) for index in range(2, 30))])
    pictures = find(folder, min_views=1, masks=True)
    assert [picture.view_index for picture in pictures] == list(range(1, 30))
    assert pictures[0].mask is None


@pytest.mark.parametrize(
    "changes",
    [
        {"viewpoint": None},
        {"viewpoint": viewpoint(0, R=np.diag([2.0, 1, 1]).tolist())},
        {"viewpoint": viewpoint(0, R=[[float("nan")] * 3] * 3)},
        {"viewpoint": viewpoint(0, focal_length=[0, 0])},
        {"viewpoint": viewpoint(0, intrinsics_format="pixels")},
        {"image": {"path": "a"}},
        {"viewpoint": "none"},
        {"frame_number": 2**31},
        {"frame_number": -1},
        {"frame_number": float("inf")},
    ],
)
def test_a_damaged_annotation_refuses_its_sequence(root, changes):
    with pytest.raises(UnusableInputError, match="annotation is damaged") as refused:
        find(root([frame(0, **changes), *(frame(index) for index in range(1, 30))]))
    assert refused.value.reason == NO_POSES


@pytest.mark.parametrize("damage", ["cut", "undecodable"])
def test_damaged_files_of_annotations_are_named(root, damage):
    folder = root()
    path = folder / "apple" / "frame_annotations.jgz"
    header = path.read_bytes()[:10]
    path.write_bytes(path.read_bytes()[:-20] if damage == "cut" else header + b"\xff" * 99)
    with pytest.raises(UnusableInputError, match="frame_annotations"):
        find(folder)
    (folder / "apple" / "sequence_annotations.jgz").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(AssetFolderError, match="sequence_annotations"):
        list(list_objects(Options(path=folder)))
