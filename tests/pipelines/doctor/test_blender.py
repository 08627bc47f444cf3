"""A Blender is only fine if it renders, and the doctor never waits for one that does not."""

import sys
import time

import pytest

from pipelines.doctor import blender
from pipelines.doctor.blender import check_blender


@pytest.fixture
def config_of(fake_config, models):
    """Make a configuration whose Blender is a script."""

    def make(script: str | None = None, path=None, **changes):
        settings = {"render__backend": "blender", **changes}
        if script is not None:
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
            settings["render__blender"] = path
        return fake_config(models("a"), **settings)

    return make


def test_a_program_that_is_no_blender_is_fatal_and_its_last_words_are_shown(config_of, tmp_path):
    script = "echo 'error while loading shared libraries: libXi.so.6' >&2; exit 127"
    (finding,) = check_blender(config_of(script, tmp_path / "interpreter"))
    assert finding.fatal
    assert "exited with code 127 while starting" in finding.detail
    assert "libXi.so.6" in finding.remedy
    assert "apt-get install" in finding.remedy


def test_a_blender_that_hangs_is_given_up(config_of, tmp_path, monkeypatch):
    monkeypatch.setattr(blender, "DEADLINE_S", 1.0)
    begun = time.monotonic()
    (finding,) = check_blender(config_of("exec sleep 600", tmp_path / "interpreter"))
    assert finding.fatal
    assert "no sign of life in 1 s" in finding.detail
    assert time.monotonic() - begun < 20


def test_a_blender_that_is_not_there_is_fatal(config_of):
    (finding,) = check_blender(config_of(render__blender="/opt/no/blender"))
    assert finding.fatal
    assert "render.blender" in finding.detail


@pytest.mark.blender
def test_this_pythons_blender_renders_a_cube(config_of):
    (finding,) = check_blender(config_of(render__blender=sys.executable))
    assert finding.fine, finding
    assert finding.detail.startswith("rendered a cube; blender 4")


def test_other_renderers_are_tried_too(fake_config, models):
    (finding,) = check_blender(fake_config(models("a")))
    assert finding.fine
    assert "rendered a cube; fake" in finding.detail
