"""`mvcap render --uid --view --save`: a picture of a dataset, made again by the command."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.build_all import build
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request
from render.backends import fake


def rows(out: Path) -> list[dict]:
    return pq.read_table(out / "data").to_pylist()


def test_the_command_makes_a_picture_again_and_says_whether_it_is_the_same(
    mvcap, models, fake_config, tmp_path, monkeypatch
):
    same, other = tmp_path / "same", tmp_path / "other"
    config = fake_config(models("chair", "lamp"))
    build(config, Request(same), LocalRunner(), lambda _: None)
    monkeypatch.setattr(fake, "AXIS_BRIGHTNESS", fake.AXIS_BRIGHTNESS / 2)
    build(config, Request(other), LocalRunner(), lambda _: None)
    row = rows(same)[4]
    picture = ("--uid", row["uid"], "--view", row["view_index"])
    done = mvcap("render", "--out", same, *picture, "--save", tmp_path / "x.jpg")
    assert done.returncode == 0, done.stderr
    assert "equal to" in done.stderr
    assert "NOT" not in done.stderr
    assert (tmp_path / "x.jpg").read_bytes() == row["image"]["bytes"]
    done = mvcap("render", "--out", other, *picture, "--save", tmp_path / "y.png")
    assert done.returncode == 1, done.stderr
    assert "NOT equal to" in done.stderr
    with Image.open(tmp_path / "y.png") as written, Image.open(tmp_path / "x.jpg") as first:
        assert (np.asarray(written) == np.asarray(first)).all()


def test_half_a_request_or_one_with_other_settings_is_refused(mvcap, tmp_path):
    for arguments, problem in (
        (("--uid", "a", "--view", 1), "all of --uid, --view and --save"),
        (
            ("--uid", "a", "--view", 1, "--save", "x.png", "--views", 3, "--preset", "fast"),
            "--views, --preset",
        ),
        (("--uid", "a", "--view", 1, "--save", "x.png"), "is not a dataset of mvcap"),
    ):
        done = mvcap("render", "--out", tmp_path, *arguments)
        assert done.returncode == 2
        assert problem in done.stderr


@pytest.mark.blender
def test_a_picture_that_blender_made_among_others_is_made_again_alone(mvcap, models, tmp_path):
    out, settings = tmp_path / "out", ("--views", 4, "--resolution", 64, "--runner", "local")
    built = mvcap("render", "--models", models("a", "b"), "--out", out, *settings)
    assert built.returncode == 0, built.stderr
    row = rows(out)[-1]
    assert row["view_index"] == 3
    assert row["renderer"].startswith("blender 4.")
    done = mvcap("render", "--out", out, "--uid", row["uid"], "--view", 3, "--save", tmp_path / "x.jpg")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.jpg").read_bytes() == row["image"]["bytes"]
