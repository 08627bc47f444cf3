"""Any picture of a dataset can be made again, and what stands in the way is named."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap.errors import ConfigChangedError, MvcapError, OutputError, UsageError
from pipelines.build_all import build
from pipelines.reproducing import reproduce_view, save_picture
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request
from render.backends import fake


def run(config, out: Path, **request) -> Path:
    build(config, Request(out, **request), LocalRunner(), lambda _: None)
    return out


def rows(out: Path) -> list[dict]:
    return pq.read_table(out / "data").to_pylist()


def test_every_picture_of_a_dataset_is_made_again(models, fake_config, tmp_path, pictures):
    changes = {"camera__law": "hammersley", "camera__distance_jitter": 0.2, "backgrounds": pictures}
    config = fake_config(models("a", "b", "c"), **{f"render__{name}": to for name, to in changes.items()})
    out = run(config, tmp_path / "out")
    for row in rows(out):
        again = reproduce_view(config, out, row["uid"], row["view_index"])
        assert again.equal
        assert again.made.image == row["image"]["bytes"]
        assert again.made.backdrop == row["background"]
        assert list(again.changes()) == []


def test_a_dataset_without_captions_will_do(models, fake_config, tmp_path):
    config = fake_config(models("a"))
    out = run(config, tmp_path / "out", caption=False)
    assert reproduce_view(config, out, rows(out)[2]["uid"], 2).equal


def test_what_is_different_from_the_first_time_is_told(models, fake_config, tmp_path, monkeypatch):
    folder = models("a")
    config = fake_config(folder)
    out = run(config, tmp_path / "out")
    (folder / "a.obj").write_text("something else")
    monkeypatch.setattr(fake, "AXIS_BRIGHTNESS", fake.AXIS_BRIGHTNESS / 2)
    monkeypatch.setattr(fake.FakeRenderer, "versions", lambda self: {"fake": "2"})
    again = reproduce_view(config, out, rows(out)[0]["uid"], 0)
    assert not again.equal
    asset, renderer = again.changes()
    assert asset.startswith(f"the model file's sha256 was {rows(out)[0]['asset_sha256']} and is ")
    assert renderer == "the renderer was fake 1 and is fake 2"


def test_what_the_dataset_does_not_hold_is_refused(models, fake_config, tmp_path):
    config = fake_config(models("chair", "lamp"), render__options__fail="{lamp: crash}")
    out = run(config, tmp_path / "out")
    uid = rows(out)[0]["uid"]
    with pytest.raises(UsageError, match=f"did you mean '{uid}'"):
        reproduce_view(config, out, uid[:-1], 0)
    with pytest.raises(UsageError, match="no view 3"):
        reproduce_view(config, out, uid, 3)
    lamp = next(
        item["uid"] for item in pq.read_table(out / "objects.parquet").to_pylist() if not item["views"]
    )
    with pytest.raises(UsageError, match=f"no view 0 of {lamp}: crash: "):
        reproduce_view(config, out, lamp, 0)
    with pytest.raises(OutputError):
        reproduce_view(config, tmp_path / "nowhere", uid, 0)


def test_other_settings_and_other_backgrounds_are_refused(models, fake_config, tmp_path, pictures):
    folder = models("a")
    config = fake_config(folder, render__backgrounds=pictures)
    out = run(config, tmp_path / "out")
    uid = rows(out)[0]["uid"]
    other = fake_config(folder, render__backgrounds=pictures, render__camera__distance=2.0)
    with pytest.raises(ConfigChangedError, match=r"camera\.distance: 1\.5 -> 2\.0"):
        reproduce_view(other, out, uid, 0)
    Image.new("RGB", (8, 8)).save(pictures / "one more.png")
    with pytest.raises(ConfigChangedError, match=r"backgrounds\.pictures: 4 -> 5"):
        reproduce_view(config, out, uid, 0)


def test_an_object_that_cannot_be_rendered_any_more_says_why(models, fake_config, tmp_path, monkeypatch):
    config = fake_config(models("a"))
    out = run(config, tmp_path / "out")
    monkeypatch.setattr(fake, "draw_box", lambda camera, *_: (np.zeros((32, 32, 4), dtype=np.uint8), None))
    with pytest.raises(MvcapError, match=r"view 1 of \S+ cannot be rendered: empty_render"):
        reproduce_view(config, out, rows(out)[0]["uid"], 1)


def test_a_picture_is_saved_as_it_is_or_as_its_suffix_says(models, fake_config, tmp_path):
    config = fake_config(models("a"))
    out = run(config, tmp_path / "out")
    made = reproduce_view(config, out, rows(out)[0]["uid"], 0).made
    for name in ("a.jpg", "a.JPEG", "a.png"):
        save_picture(made, tmp_path / name)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "a.JPEG").read_bytes() == made.image
    with Image.open(tmp_path / "a.png") as png, Image.open(io.BytesIO(made.image)) as stored:
        assert png.format == "PNG"
        assert (np.asarray(png) == np.asarray(stored)).all()
    with pytest.raises(UsageError, match=r"'\.txt'"):
        save_picture(made, tmp_path / "a.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        save_picture(made, tmp_path / "file/a.png")
