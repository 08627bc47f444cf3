"""What no recipe has named is called by its folder."""

from pathlib import Path

from mvcap.config import Config
from mvcap.places import parse_place
from mvcap.report.titles import title_of
from training.config import TrainingConfig


def test_a_recipes_name_comes_before_the_folders():
    assert title_of("demo", Path("data/chairs")) == "demo"
    for unnamed in (Config().name, TrainingConfig().name):
        assert title_of(unnamed, Path("data/chairs")) == "chairs"
        assert title_of(unnamed, parse_place("s3://bucket/data/chairs")) == "chairs"
        assert title_of(unnamed, parse_place("s3://bucket")) == "bucket"


def test_the_present_folder_has_a_name_too(tmp_path, monkeypatch):
    (tmp_path / "chairs/inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "chairs")
    assert title_of(Config().name, Path()) == "chairs"
    monkeypatch.chdir(tmp_path / "chairs/inside")
    assert title_of(Config().name, Path("..")) == "chairs"
