"""What every source owes the pipeline; a new file in `mvcap/sources/` is tested the moment it exists."""

import gzip
import inspect
import io
import json
import os
import pickle
import runpy
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel, ValidationError

from mvcap import plugins, schema
from mvcap.commits import Commit
from mvcap.config import producing_settings
from mvcap.errors import FetchError, UsageError
from mvcap.files import json_bytes
from mvcap.pictures import Picture, UnusableInputError
from mvcap.plan import make_uid
from mvcap.records import Rejected, SelectedObject
from mvcap.rows import planned_from_row, planned_row
from render.cameras import project

SOURCES = plugins.names("mvcap.sources")


def folder_sample(root: Path) -> dict[str, Any]:
    (root / "chairs").mkdir()
    (root / "chairs" / "a.glb").write_bytes(b"x")
    (root / "stul \u0441\u0442\u0443\u043b.obj").write_bytes(b"x")
    (root / "labels.csv").write_text("path,category\nchairs/a.glb,chair\ngone.glb,chair\n")
    return {"path": str(root)}


def sh3f_sample(root: Path) -> dict[str, Any]:
    properties = "license=CC-0\nid#1=Blend Swap CC-0#bench\nname#1=Bench\nmodel#1=/bench.obj\n"
    with zipfile.ZipFile(root / "Test.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", properties)
        archive.writestr("bench.obj", b"v 0 0 0")
    return {"path": str(root), "selection": "demo"}


def images_sample(root: Path) -> dict[str, Any]:
    (root / "a.jpg").write_bytes(b"x")
    (root / "\u0441\u0442\u0443\u043b.png").write_bytes(b"x")
    table = "file_name,category,uid\na.jpg,chair,1\n\u0441\u0442\u0443\u043b.png,chair,\n../gone.jpg,chair,\n"
    (root / "metadata.csv").write_text(table)
    return {"path": str(root)}


def mvimgnet_sample(root: Path) -> dict[str, Any]:
    scenes = runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "colmap_scene.py"))
    scenes["write_scene"](root / "2" / "1a2b3c4d", scenes["ring"](4))
    (root / "2" / "00000000" / "sparse").mkdir(parents=True)
    (root / "9" / "11111111").mkdir(parents=True)
    (root / "mvimgnet_category.txt").write_bytes(b"2,wahser\r\n")
    return {"path": str(root), "min_views": 4, "views": 3}


def picture_bytes(mode: str = "RGB", suffix: str = "PNG") -> bytes:
    Image.new(mode, (8, 8), "red").save(buffer := io.BytesIO(), suffix)
    return buffer.getvalue()


def rendered_views_sample(root: Path) -> dict[str, Any]:
    pose = np.eye(4)[:3]
    pose[2, 3] = -1.5  # seen from straight above
    np.save(buffer := io.BytesIO(), pose)
    for uid in ("0a", "unknown"):
        (root / uid).mkdir()
        for index in range(2):
            (root / uid / f"{index:03d}.png").write_bytes(picture_bytes("RGBA"))
            (root / uid / f"{index:03d}.npy").write_bytes(buffer.getvalue())
    with zipfile.ZipFile(root / "0b.zip", "w") as archive:
        archive.writestr("0b/000.png", picture_bytes("RGBA"))
        archive.writestr("0b/000.npy", buffer.getvalue())
        archive.writestr("0b/metadata.json", "{}")
    (root.parent / "table.csv").write_text("uid,category\n0a,chair\n0b,cup\n")
    return {"path": str(root), "categories": str(root.parent / "table.csv")}


def im3d_sample(root: Path) -> dict[str, Any]:
    (root / "airliner_01").mkdir()
    (root / "airliner_01" / "000.png").write_bytes(picture_bytes("RGBA"))
    (root / "cups" / "lego" / "train").mkdir(parents=True)
    (root / "cups" / "lego" / "train" / "r_0.png").write_bytes(picture_bytes("RGBA"))
    pose = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
    frames = [{"file_path": "./train/r_0", "transform_matrix": pose}]
    text = json.dumps({"camera_angle_x": 0.69, "frames": frames})
    (root / "cups" / "lego" / "transforms_train.json").write_text(text)
    (root / "123").mkdir()
    (root / "123" / "000.png").write_bytes(b"x")
    return {"path": str(root)}


def co3d_sample(root: Path) -> dict[str, Any]:
    frames = []
    for index in range(4):
        path = f"apple/1_2_3/images/frame{index:06d}.jpg"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture_bytes(suffix="JPEG"))
        turn = np.pi / 2 * index
        rotation = [[-np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, -np.cos(turn)]]
        viewpoint = {
            "R": rotation,
            "T": [0, 0, 3],
            "focal_length": [2.0, 2.0],
            "principal_point": [0.0, 0.0],
            "intrinsics_format": "ndc_isotropic",
        }
        image = {"path": path, "size": [8, 8]}
        frame = {"sequence_name": "1_2_3", "frame_number": index, "image": image, "viewpoint": viewpoint}
        frames.append(frame)
    sequences = [{"sequence_name": name, "category": "apple"} for name in ("1_2_3", "4_5_6")]
    for name, content in (("frame", frames), ("sequence", sequences)):
        with gzip.open(root / "apple" / f"{name}_annotations.jgz", "wt") as file:
            json.dump(content, file)
    return {"path": str(root), "min_views": 4}


def mvcap_release_sample(root: Path) -> dict[str, Any]:
    entries = [
        {"path": f"./views/{uid}/{view:03d}.png", "caption": "a", "obj_id": k, "img_id": 100 * k + view}
        for k, uid in enumerate(["0a", "gone", "unnamed"])
        for view in (0, 26)
    ]
    hostile = {"path": "../secret.png", "caption": "a", "obj_id": 9, "img_id": 900}
    (root / "metadata.json").write_text(json.dumps([*entries, hostile]))
    for uid in ("0a", "unnamed"):
        (root / "views" / uid).mkdir(parents=True)
        (root / "views" / uid / "026.png").write_bytes(picture_bytes())
    (root.parent / "table.csv").write_text("uid,category\n0a,chair\n")
    return {"path": str(root), "categories": str(root.parent / "table.csv")}


def imagenet_sample(root: Path) -> dict[str, Any]:
    (root / "n01440764").mkdir()
    (root / "n01440764" / "n01440764_1.JPEG").write_bytes(picture_bytes(suffix="JPEG"))
    (root / "n99999999").mkdir()
    with tarfile.open(root / "train-0000.tar", "w") as archive:
        for name, data in (
            ("n01443537_1.jpg", picture_bytes(suffix="JPEG")),
            ("n01443537_2.json", b"{}"),
            ("k.cls", b"1"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    (root.parent / "names.txt").write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n")
    return {"path": str(root), "names": str(root.parent / "names.txt")}


def objaverse_sample(root: Path) -> dict[str, Any]:
    """A cache of the library without models; a lone surrogate and a path are uids as well."""
    paths = {"a1": "glbs/000-001/a1.glb", "../b": "glbs/../b.glb", "c": "glbs/000-001/c.glb"}
    annotations = {"a1": {"uid": "a1", "name": "", "license": "by"}, "c": {"uid": "c", "name": "\ud800"}}
    lvis = {"armchair": ["a1"], "bow_(weapon)": ["../b", "\udcff"], "ring_(jewelry)": ["c"]}
    (root / "metadata").mkdir()
    files = {"object-paths": paths, "lvis-annotations": lvis, "metadata/000-001": annotations}
    for name, content in files.items():
        (root / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    return {"path": str(root), "download": False}


SAMPLES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "folder": folder_sample,
    "co3d": co3d_sample,
    "im3d": im3d_sample,
    "imagenet": imagenet_sample,
    "images": images_sample,
    "mvcap_release": mvcap_release_sample,
    "rendered_views": rendered_views_sample,
    "mvimgnet": mvimgnet_sample,
    "objaverse": objaverse_sample,
    "sh3f": sh3f_sample,
}
"""For each source: fill an empty folder with a few objects, and return the options that list them."""


@pytest.fixture(params=SOURCES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sample(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BaseModel:
    """The options of a source over a small sample of its own format."""
    assert name in SAMPLES, f"add a sample of {name!r} to SAMPLES in {Path(__file__).name}"
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "sample").mkdir()
    return plugins.options_model("mvcap.sources", name).model_validate(SAMPLES[name](tmp_path / "sample"))


def list_sample(name: str, sample: BaseModel) -> list[SelectedObject | Rejected]:
    return list(plugins.load("mvcap.sources", name).list_objects(sample))


def test_options_are_frozen_strict_and_described(name: str):
    options = plugins.options_model("mvcap.sources", name)
    assert issubclass(options, BaseModel)
    assert options.__name__ == "Options"
    assert options.__doc__
    assert options.model_config.get("extra") == "forbid"
    assert options.model_config.get("frozen") is True


def test_an_unknown_option_is_refused(name: str, sample: BaseModel):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(sample).model_validate(sample.model_dump() | {"no_such_option": 1})


def test_options_survive_the_configuration_file_of_a_dataset(sample: BaseModel):
    assert type(sample).model_validate(sample.model_dump(mode="json")) == sample


def test_the_module_says_what_it_reads_and_lists_with_one_argument(name: str):
    source = plugins.load("mvcap.sources", name)
    assert source.__doc__
    assert source.list_objects.__doc__
    (parameter,) = inspect.signature(source.list_objects).parameters.values()
    assert parameter.annotation in (source.Options, "Options")


def test_importing_a_source_is_light_and_touches_nothing(name: str, tmp_path: Path):
    code = (
        f"import sys, mvcap.sources.{name}\n"
        "heavy = {'torch', 'ray', 'bpy', 'transformers', 'pyarrow', 'PIL', 'pycolmap'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {"HOME": str(tmp_path), "MVCAP_CACHE": str(tmp_path / "cache")}
    if path := os.environ.get("PYTHONPATH"):
        environment["PYTHONPATH"] = path
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    assert list(tmp_path.iterdir()) == []


def test_every_item_is_an_object_or_a_reason_and_has_a_uid_of_its_own(name: str, sample: BaseModel):
    items = list_sample(name, sample)
    assert any(isinstance(item, SelectedObject) for item in items)
    assert all(isinstance(item, SelectedObject | Rejected) for item in items)
    assert len({item.uid for item in items}) == len(items)
    assert {item.stage for item in items if isinstance(item, Rejected)} <= {"list"}


def test_objects_are_complete(name: str, sample: BaseModel):
    for item in list_sample(name, sample):
        if isinstance(item, SelectedObject):
            record = item.record
            assert record.source == name
            assert record.uid == make_uid(name, record.source_id)
            assert Path(record.asset).is_absolute()
            assert Path(record.asset).exists() or hasattr(
                plugins.load("mvcap.sources", name), "open_fetcher"
            ), "a model that is not there must be fetched"
            assert item.category.strip() == item.category != ""
            assert record.name
            assert record.rotation is None or len(record.rotation) == 9


def test_a_source_that_fetches_keeps_the_promises_of_a_fetcher(name: str, sample: BaseModel):
    source = plugins.load("mvcap.sources", name)
    if not hasattr(source, "open_fetcher"):
        pytest.skip("its models are on disk")
    fetcher = source.open_fetcher(sample)
    objects = [item for item in list_sample(name, sample) if isinstance(item, SelectedObject)]
    missing = [item for item in objects if not Path(item.record.asset).exists()]
    assert missing, "let the sample list a model that is not there and cannot be had"
    fetcher.check([])
    with pytest.raises(FetchError):
        fetcher.fetch(missing[0])
    assert pickle.dumps(sample)  # options travel to workers


def test_objects_and_rejections_can_be_stored(name: str, sample: BaseModel):
    import pyarrow as pa

    items = list_sample(name, sample)
    objects = [item for item in items if isinstance(item, SelectedObject)]
    rows = [planned_row(item, 0) for item in objects]
    table = pa.Table.from_pylist(rows, schema=schema.PLANNED_SCHEMA)
    assert [planned_from_row(row) for row in table.to_pylist()] == objects
    rejected = tuple(item for item in items if isinstance(item, Rejected))
    assert json_bytes(Commit("render", 0, "s", rejected=rejected).to_json())


def test_listing_twice_gives_the_same(name: str, sample: BaseModel):
    assert list_sample(name, sample) == list_sample(name, sample)


def test_a_missing_place_is_a_usage_error_with_a_next_step(name: str, sample: BaseModel, tmp_path: Path):
    if "path" not in type(sample).model_fields:
        pytest.skip("this source reads no place on disk")
    options = sample.model_copy(update={"path": tmp_path / "missing"})
    with pytest.raises(UsageError, match="missing"):
        list_sample(name, options)


# --- sources of pictures ---------------------------------------------------------------------------


@pytest.fixture
def found(name: str, sample: BaseModel) -> dict[str, list[Picture] | UnusableInputError]:
    """The pictures of every listed object, or why it has none; by uid."""
    source = plugins.load("mvcap.sources", name)
    if not hasattr(source, "open_pictures"):
        pytest.skip("this source gives 3D objects")
    finder = source.open_pictures(sample)

    def find(item: SelectedObject) -> list[Picture] | UnusableInputError:
        try:
            return list(finder(item))
        except UnusableInputError as error:
            return error

    return {item.uid: find(item) for item in list_sample(name, sample) if isinstance(item, SelectedObject)}


def test_pictures_have_indices_of_their_own_and_can_be_read(found: dict[str, Any]):
    usable = [pictures for pictures in found.values() if not isinstance(pictures, UnusableInputError)]
    assert usable
    for pictures in usable:
        indices = [picture.view_index for picture in pictures]
        assert indices == sorted(set(indices))
        assert all(picture.name for picture in pictures)
        assert all(picture.content.read() for picture in pictures if picture.content)
        assert any(picture.content for picture in pictures)


def test_cameras_look_at_the_object_from_where_they_say(name: str, found: dict[str, Any]):
    pictures = [p for some in found.values() if not isinstance(some, UnusableInputError) for p in some]
    cameras = [picture.camera for picture in pictures if picture.camera]
    assert bool(cameras) == hasattr(plugins.load("mvcap.sources", name), "CAMERAS")
    for camera in cameras:
        (pixel,) = project(np.zeros((1, 3)), camera)
        assert 0 < pixel[0] < camera.width
        assert 0 < pixel[1] < camera.height
        direction = np.array(camera.camera_to_world).reshape(4, 4)[:3, 3] / camera.distance
        assert np.degrees(np.arcsin(direction[2])) == pytest.approx(camera.elevation_deg, abs=1e-6)
        turned = np.degrees(np.arctan2(direction[1], direction[0])) - camera.azimuth_deg
        assert (turned + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


def test_assets_lie_in_the_path_by_which_sections_of_one_source_are_told_apart(
    name: str, sample: BaseModel, found: dict[str, Any]
):
    root = Path(sample.model_dump()["path"])
    for item in list_sample(name, sample):
        if isinstance(item, SelectedObject):
            assert Path(item.record.asset).is_relative_to(root)


def test_views_are_counted_ahead_for_the_progress_bar(name: str, sample: BaseModel, found: dict[str, Any]):
    count = plugins.load("mvcap.sources", name).expected_views(sample)
    items = [item for item in list_sample(name, sample) if isinstance(item, SelectedObject)]
    assert all(isinstance(count(item), int) and count(item) >= 1 for item in items)


def test_where_a_corpus_lies_is_no_part_of_the_settings(sample: BaseModel, found: dict[str, Any]):
    assert "path" not in producing_settings(sample)
