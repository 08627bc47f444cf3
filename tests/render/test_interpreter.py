"""Which program is started, and how."""

import importlib.util
import sys

import pytest

from mvcap.errors import RendererUnavailableError
from render.interpreter import CHILD_SCRIPT, child_command, find_interpreter


def test_a_blender_binary_gets_blenders_arguments():
    assert child_command("/opt/blender-4.5/blender") == [
        "/opt/blender-4.5/blender",
        "--background",
        "--factory-startup",
        "--python",
        str(CHILD_SCRIPT),
    ]


def test_anything_else_is_started_like_a_python():
    assert child_command("/opt/blender/python3.11") == ["/opt/blender/python3.11", "-I", str(CHILD_SCRIPT)]


def test_a_configured_program_must_exist():
    assert find_interpreter(sys.executable) == sys.executable
    with pytest.raises(RendererUnavailableError, match=r"render\.blender='/no/such/blender'.*pip install"):
        find_interpreter("/no/such/blender")


def test_without_bpy_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RendererUnavailableError, match=r"mvcap\[blender\]"):
        find_interpreter(None)
