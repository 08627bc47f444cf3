"""A .blend file may carry scripts that Blender runs when it opens it: none is ever opened."""

from pathlib import Path

import pytest

from mvcap.errors import BAD_ASSET
from mvcap.sources.folder import Options, list_objects
from render.asset_checks import Caps, find_problem

BLEND = b"BLENDER-v405RENDH" + bytes(200)
CAPS = Caps(bytes=10**6, vertices=10**6, texture_pixels=10**6)


def test_a_blend_file_in_a_folder_of_models_is_no_object(tmp_path: Path):
    (tmp_path / "scene.blend").write_bytes(BLEND)
    (tmp_path / "chair.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert [item.record.source_id for item in list_objects(Options(path=tmp_path))] == ["chair.obj"]


@pytest.mark.parametrize(
    "name", ["scene.blend", "scene.BLEND", "scene.glb", "scene.fbx", "scene.usdc", "scene.stl"]
)
def test_a_blend_file_is_refused_under_any_name(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(BLEND)
    problem = find_problem(str(tmp_path / name), CAPS)
    assert problem
    assert problem.reason == BAD_ASSET
