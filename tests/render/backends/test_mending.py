"""Models as people store them, with flaws that only path tracing shows: mended, in real Blender."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from render.backends.blender import Options, create
from render.cameras import Viewpoint
from render.encoding import composite
from render.job import RenderJob
from render.stage import make_scene

pytestmark = [pytest.mark.blender, pytest.mark.timeout(120)]

BALL = trimesh.creation.icosphere(subdivisions=3)
WHITE = np.full(3, 255, np.uint8)
ABOVE, OBLIQUE = Viewpoint(0, 89), Viewpoint(30, 40)


@pytest.fixture(scope="module")
def renderer():
    with create(Options(bind_cores=False), interpreter=None) as renderer:
        yield renderer


def picture_of(renderer, path: Path, viewpoint: Viewpoint = OBLIQUE, preset: str = "physical") -> np.ndarray:
    scene = make_scene(
        **{"resolution": 96, "lens_mm": 35.0, "sensor_mm": 32.0, "light": "studio"},
        **{"preset": preset, "samples": 8, "view_transform": "Standard"},
    )
    [view] = renderer.render(RenderJob(path.stem, str(path), None, (viewpoint,), 1.5, 0.04, scene))
    return view.rgba


def write_obj(path: Path, vertices: np.ndarray, normals: np.ndarray, corners: list[list[tuple]]) -> Path:
    """Write faces whose corners are (vertex, normal), from 0."""
    lines = [*(f"v {x} {y} {z}" for x, y, z in vertices), *(f"vn {x} {y} {z}" for x, y, z in normals)]
    lines += ["f " + " ".join(f"{v + 1}//{n + 1}" for v, n in face) for face in corners]
    path.write_text("\n".join(lines) + "\n")
    return path


def ball_of(path: Path, faces: np.ndarray, normals: np.ndarray) -> Path:
    return write_obj(path, BALL.vertices, normals, [[(v, v) for v in face] for face in faces])


def solid(rgba: np.ndarray) -> np.ndarray:
    return rgba[rgba[..., 3] == 255][:, :3].astype(int)


def difference(first: np.ndarray, second: np.ndarray) -> int:
    """Largest one of any pixel and channel, on white."""
    one, other = (composite(rgba, WHITE).astype(int) for rgba in (first, second))
    return int(np.abs(one - other).max())


@pytest.fixture(scope="module")
def sound(renderer, tmp_path_factory) -> np.ndarray:
    path = tmp_path_factory.mktemp("sound") / "ball.obj"
    return picture_of(renderer, ball_of(path, BALL.faces, BALL.vertex_normals))


def test_a_model_with_every_face_twice_looks_like_one_with_every_face_once(renderer, sound, tmp_path):
    faces = np.concatenate([BALL.faces, BALL.faces[:, ::-1]])
    rng = np.random.default_rng(0)
    twice = picture_of(renderer, ball_of(tmp_path / "a.obj", rng.permutation(faces), BALL.vertex_normals))
    assert difference(twice, sound) <= 6


def test_normals_on_the_wrong_side_leave_no_face_in_the_dark(renderer, sound, tmp_path):
    wound = BALL.faces[:, ::-1]
    turned = picture_of(renderer, ball_of(tmp_path / "a.obj", wound, BALL.vertex_normals))
    assert difference(turned, sound) <= 6


def test_normals_of_a_file_are_kept_where_they_agree_with_its_faces(renderer, tmp_path):
    box = trimesh.creation.box()
    rounded = box.vertices / np.linalg.norm(box.vertices, axis=1, keepdims=True)
    corners = [[(v, v) for v in face] for face in box.faces]
    shaded = solid(picture_of(renderer, write_obj(tmp_path / "a.obj", box.vertices, rounded, corners)))
    assert len(np.unique(shaded, axis=0)) > 50  # the sides of a plain box have three colours and their edges


def write_leaf(folder: Path, alpha: np.ndarray) -> Path:
    """Write a green square with the alpha of a picture."""
    pixels = np.concatenate([np.full((*alpha.shape, 3), (30, 160, 30)), alpha[..., None]], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "leaf.png")
    (folder / "a.mtl").write_text("newmtl m\nKd 1 1 1\nmap_Kd leaf.png\n")
    text = "v -1 0 -1\nv 1 0 -1\nv 1 0 1\nv -1 0 1\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"
    (folder / "leaf.obj").write_text(f"mtllib a.mtl\nusemtl m\n{text}")
    return folder / "leaf.obj"


@pytest.mark.parametrize("preset", ["fast", "physical"])
def test_the_alpha_of_an_obj_texture_cuts_the_object_out(renderer, tmp_path, preset):
    alpha = np.zeros((64, 64))
    alpha[:, :32] = 255
    half = picture_of(renderer, write_leaf(tmp_path, alpha), ABOVE, preset)
    whole = picture_of(renderer, write_leaf(tmp_path, np.full((64, 64), 255)), ABOVE, preset)
    assert (half[..., 3] / 255).sum() == pytest.approx((whole[..., 3] / 255).sum() / 2, rel=0.05)
    assert (solid(half)[:, 1] > 2 * solid(half)[:, 0]).all()  # green to the edge


def test_an_alpha_that_is_zero_all_over_means_nothing(renderer, tmp_path):
    nothing = picture_of(renderer, write_leaf(tmp_path, np.zeros((64, 64))), ABOVE)
    whole = picture_of(renderer, write_leaf(tmp_path, np.full((64, 64), 255)), ABOVE)
    assert difference(nothing, whole) <= 6
