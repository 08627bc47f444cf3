"""`mvcap eval --adversarial-views`: from a dataset to the views where a model fails, by a fake renderer."""

import json

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap.cli import app
from mvcap.errors import UsageError
from pipelines.adversarial_views import PER_ROUND, RANDOM, ROUNDS


@pytest.fixture
def search(small_open_clip):
    def run(data, out, *more):
        model = ["eval", "--config", "ovt", "--set", f"model.options.model={small_open_clip}"]
        command = [*model, "--adversarial-views", "--data", str(data), "--split", "train", "--out", str(out)]
        app([*command, "--templates", "plain", *more], standalone_mode=False)

    return run


def test_every_object_is_seen_at_random_and_searched_and_the_figures_are_those_of_the_rows(
    search, small_dataset, tmp_path, capsys
):
    search(f"ours={small_dataset}", tmp_path, "--objects", "3", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "adversarial.json").read_text())
    figures = told["ours"]["pretrained"]
    rows = pq.read_table(tmp_path / "ours-pretrained-adversarial.parquet").to_pandas()
    counts = rows.groupby(["uid", "drawn"]).size().unstack()
    assert (counts["random"] == RANDOM).all()
    assert (counts[["control", "searched"]] == ROUNDS * PER_ROUND).all(axis=None)
    assert len(counts) == figures["objects"] == 3
    margins = {
        name: rows[rows["drawn"].isin(drawn)].groupby("uid")["margin"].min()
        for name, drawn in (
            ("worst_of_random", ["random", "control"]),
            ("worst_found", ["random", "searched"]),
        )
    }
    for name, least in margins.items():
        assert figures[name]["mean_margin"] == pytest.approx(least.mean())
        assert figures[name]["top1"]["mean"] == pytest.approx((least > 0).mean())
    assert figures["random"]["top1"]["mean"] == pytest.approx(
        (rows[rows["drawn"] == "random"]["margin"] > 0).mean()
    )
    assert Image.open(tmp_path / "ours-pretrained-adversarial.png").width == 8 * 160


def test_the_same_command_finds_the_same(search, small_dataset, tmp_path, capsys):
    for name in ("one", "other"):
        search(small_dataset, tmp_path / name, "--objects", "1")
    one, other = capsys.readouterr().out.splitlines()
    assert one == other
    assert "1 object: right from random viewpoints" in one


def test_only_what_can_be_rendered_anew_is_searched(search, small_dataset, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "set" / name / "x.png")
    with pytest.raises(UsageError, match="no dataset of ours"):
        search(tmp_path / "set", tmp_path / "out")
    with pytest.raises(UsageError, match="--suite"):
        search(small_dataset, tmp_path / "out", "--suite", "ovt")
