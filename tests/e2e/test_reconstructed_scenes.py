"""A scene rendered here, reconstructed by COLMAP and laid out as MVImgNet: are its cameras the true ones?"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pycolmap
import pytest
import trimesh
from PIL import Image

from mvcap import plugins, recipes
from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

pytestmark = [pytest.mark.blender, pytest.mark.slow]

VIEWS = 40
DIRECTION_BOUND_DEG = 1.0
"""Between true and recovered viewing directions, after the best similarity; 0.49 was measured (2026-11)."""
FRAME_BOUND_DEG = 1.5
"""Between true angles and those in the frame that the source makes up, which knows no true up; 0.55 was
measured (2026-11)."""


def noise(size: int, seed: int) -> Image.Image:
    """Blobs of several sizes in colours: features at every distance, and no two alike."""
    rng = np.random.default_rng(seed)
    layers = [
        Image.fromarray(rng.integers(0, 256, (size // step, size // step, 3), np.uint8)).resize(
            (size, size), Image.Resampling.BICUBIC
        )
        for step in (4, 12, 40)
    ]
    return Image.fromarray(np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8))


def textured(mesh: trimesh.Trimesh, seed: int) -> trimesh.Trimesh:
    """Unfold a mesh face by face onto a texture of noise."""
    faces = mesh.vertices[mesh.faces].reshape(-1, 3)
    columns = int(np.ceil(np.sqrt(len(mesh.faces))))
    cells = np.stack(np.divmod(np.arange(len(mesh.faces)), columns), axis=1)
    uv = (cells[:, None] + [[0.05, 0.05], [0.95, 0.05], [0.05, 0.95]]) / columns
    flat = trimesh.Trimesh(faces, np.arange(len(faces)).reshape(-1, 3), process=False)
    material = trimesh.visual.material.PBRMaterial(
        baseColorTexture=noise(512, seed), metallicFactor=0.0, roughnessFactor=1.0
    )
    flat.visual = trimesh.visual.TextureVisuals(uv.reshape(-1, 2), material=material)
    return flat


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Rows of 40 views of a box on a table, all of noise, from a ring of cameras with some jitter."""
    folder = tmp_path_factory.mktemp("rendered")
    table = textured(trimesh.creation.box((2.0, 0.1, 2.0)), 0)
    box = textured(
        trimesh.creation.box(
            (0.5, 0.7, 0.4), transform=trimesh.transformations.translation_matrix((0, 0.4, 0))
        ),
        1,
    )
    (folder / "models").mkdir()
    trimesh.Scene([table, box]).export(folder / "models" / "box.glb")
    settings = {
        "sources": [{"source": "folder", "options": {"path": str(folder / "models")}}],
        "render": {
            "views": VIEWS,
            "resolution": 320,
            "preset": "fast",
            "camera": {"law": "ring", "elevation_deg": 38, "distance_jitter": 0.1},
        },
        "captions": {"backend": "fake"},
        "run": {"render_workers": 1},
    }
    config = recipes.build_config(settings, plugins.options_model)
    build(config, Request(folder / "out", caption=False), LocalRunner(), lambda _: None)
    return rows(folder / "out")


@pytest.fixture(scope="module")
def scene(rendered, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of one scene in MVImgNet's layout, its `sparse` by COLMAP from the pictures alone."""
    root = tmp_path_factory.mktemp("mvimgnet")
    folder = root / "160" / "0badcafe"
    (folder / "images").mkdir(parents=True)
    for row in rendered:
        (folder / "images" / f"{row['view_index'] + 1:03d}.jpg").write_bytes(row["image"]["bytes"])
    (root / "mvimgnet_category.txt").write_bytes(b"160,Box\r\n")
    reconstruct(folder)
    return root


def reconstruct(folder: Path) -> None:
    """Extract features, match them and place the cameras, on one thread and with few features."""
    database, images = folder / "database.db", folder / "images"
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.num_threads, extraction.use_gpu = 1, False
    extraction.sift.max_num_features = 700
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads, matching.use_gpu = 1, False
    mapping = pycolmap.IncrementalPipelineOptions()
    mapping.num_threads, mapping.random_seed, mapping.extract_colors = 1, 0, False
    mapping.max_runtime_seconds = 120
    cpu = pycolmap.Device.cpu
    pycolmap.extract_features(
        database, images, camera_mode=pycolmap.CameraMode.SINGLE, extraction_options=extraction, device=cpu
    )
    nearby = pycolmap.SequentialPairingOptions()
    nearby.overlap, nearby.quadratic_overlap = 4, True
    pycolmap.match_sequential(database, matching_options=matching, pairing_options=nearby, device=cpu)
    pycolmap.incremental_mapping(database, images, folder / "sparse", options=mapping)
    for path in (database, folder / "sparse/0/rigs.bin", folder / "sparse/0/frames.bin"):
        path.unlink(missing_ok=True)


def rows(out: Path) -> list[dict]:
    return sorted(
        (row for path in out.glob("data/*.parquet") for row in pq.read_table(path).to_pylist()),
        key=lambda row: row["view_index"],
    )


def poses(found: list[dict]) -> np.ndarray:
    return np.array([row["camera_to_world"] for row in found]).reshape(-1, 4, 4)


def angle_column(found: list[dict], name: str) -> np.ndarray:
    return np.array([row[name] for row in found])


def best_rotation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the rotation of the best similarity between (N, 3) points (Umeyama 1991)."""
    u, _, vt = np.linalg.svd((target - target.mean(0)).T @ (source - source.mean(0)))
    return u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt


def angles_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((first * second).sum(1), -1, 1)))


@pytest.fixture(scope="module")
def imported(scene, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    settings = {
        "sources": [{"source": "mvimgnet", "options": {"path": str(scene)}}],
        "captions": {"backend": "fake"},
        "run": {"render_workers": 1},
    }
    out = tmp_path_factory.mktemp("imported") / "out"
    config = recipes.build_config(settings, plugins.options_model)
    outcome = build(config, Request(out), LocalRunner(), lambda _: None)
    assert outcome.failures == ()
    return rows(out)


def test_recovered_directions_are_the_true_ones_up_to_similarity(rendered, imported):
    assert len(imported) >= 30
    true = poses([rendered[row["view_index"]] for row in imported])
    found = poses(imported)
    rotation = best_rotation(found[:, :3, 3], true[:, :3, 3])
    errors = angles_between(-found[:, :3, 2] @ rotation.T, -true[:, :3, 2])
    print(f"{len(found)} frames; error: median {np.median(errors):.2f}, largest {errors.max():.2f} degrees")
    assert errors.max() < DIRECTION_BOUND_DEG


def test_the_made_up_frame_is_close_to_the_true_one_but_for_where_azimuth_begins(rendered, imported):
    true = [rendered[row["view_index"]] for row in imported]
    elevation = angle_column(imported, "elevation_deg") - angle_column(true, "elevation_deg")
    turn = np.exp(1j * np.radians(angle_column(imported, "azimuth_deg") - angle_column(true, "azimuth_deg")))
    azimuth = np.degrees(np.angle(turn / turn.mean()))
    print(
        f"largest error: elevation {np.abs(elevation).max():.2f}, azimuth {np.abs(azimuth).max():.2f} degrees"
    )
    assert imported[0]["azimuth_deg"] == pytest.approx(0, abs=1e-3)
    assert np.abs(elevation).max() < FRAME_BOUND_DEG
    assert np.abs(azimuth).max() < FRAME_BOUND_DEG


def test_the_field_of_view_is_the_true_one(rendered, imported):
    print(f"field of view {imported[0]['fov_deg']:.2f}, true {rendered[0]['fov_deg']:.2f} degrees")
    assert imported[0]["fov_deg"] == pytest.approx(rendered[0]["fov_deg"], abs=1.5)
    assert {row["category"] for row in imported} == {"box"}


@pytest.mark.parametrize("frames", [20, 10])
def test_half_a_turn_and_a_quarter_tell_up_as_well(scene, rendered, tmp_path, frames):
    source = plugins.load("mvcap.sources", "mvimgnet")
    shutil.copytree(scene, tmp_path / "root")
    for path in sorted((tmp_path / "root").glob("*/*/images/*.jpg"))[frames:]:
        path.unlink()
    options = source.Options(path=tmp_path / "root", min_views=frames)
    (item,) = source.list_objects(options)
    pictures = source.open_pictures(options)(item)
    found = np.array([picture.camera.elevation_deg for picture in pictures])
    true = angle_column([rendered[picture.view_index] for picture in pictures], "elevation_deg")
    print(f"{frames} of {VIEWS} frames; largest error of elevation {np.abs(found - true).max():.2f} degrees")
    assert np.abs(found - true).max() < FRAME_BOUND_DEG


def test_a_choice_of_a_few_frames_goes_all_around(scene, rendered, tmp_path):
    source = plugins.load("mvcap.sources", "mvimgnet")
    shutil.copytree(scene, tmp_path / "root")
    options = source.Options(path=tmp_path / "root", views=4)
    (item,) = source.list_objects(options)
    chosen = sorted(picture.camera.azimuth_deg for picture in source.open_pictures(options)(item))
    gaps = np.diff([*chosen, chosen[0] + 360])
    assert gaps.max() < 120
