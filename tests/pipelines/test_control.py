"""Captions without guidance: a sample that follows from names alone, beside the dataset and on its card."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from captions.prompts import UNGUIDED_PROMPT
from mvcap.cli import app
from mvcap.errors import ConfigChangedError, UsageError
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.control import make_unguided_control
from pipelines.control_table import control_path
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e")


def run(config, out: Path, **request):
    return build(config, Request(out, **request), LocalRunner(), lambda _: None)


def control(config, out: Path):
    return make_unguided_control(config, out, lambda _: None)


def pairs(out: Path) -> list[dict]:
    return pq.read_table(control_path(Store(out))).to_pylist()


def contents(out: Path, *, ignored: str = "lock") -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in out.rglob("*")
        if path.is_file() and ignored not in path.name
    }


@pytest.fixture
def finished(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES), captions__control_views=7), tmp_path / "out"
    run(config, out)
    return config, out


def test_guidance_is_measured_on_the_same_views_and_told_on_the_card(finished):
    config, out = finished
    before = {path: path.read_bytes() for path in (out / "data").glob("*")}
    figures = control(config, out).figures
    assert (figures.views, figures.guided, figures.unguided) == (7, 1.0, 0.0)
    card = (out / "README.md").read_text()
    told = "7 views captioned both ways | 100.0% with guidance, 0.0% without |"
    assert told in card
    assert {path: path.read_bytes() for path in (out / "data").glob("*")} == before
    assert verify_dataset(out) == []
    data = {
        (row["uid"], row["view_index"]): row["caption"]
        for path in before
        for row in pq.read_table(path).to_pylist()
    }
    for pair in pairs(out):
        assert pair["guided"] == data[pair["uid"], pair["view_index"]]
        assert pair["unguided"].endswith(f"something: {UNGUIDED_PROMPT}")
    run(config, out)
    assert told in (out / "README.md").read_text(), "the next build keeps what the card says"


def test_the_sample_does_not_depend_on_the_shards(models, fake_config, tmp_path):
    keys = []
    for per_shard in (1, 5):
        config = fake_config(models(*NAMES), captions__control_views=7, plan__objects_per_shard=per_shard)
        run(config, tmp_path / str(per_shard))
        control(config, tmp_path / str(per_shard))
        keys.append({(pair["uid"], pair["view_index"]) for pair in pairs(tmp_path / str(per_shard))})
    assert keys[0] == keys[1]
    assert len({uid for uid, _ in keys[0]}) > 2, "views are drawn, not objects"


def test_a_larger_sample_holds_the_smaller_one(finished, models, fake_config):
    config, out = finished
    control(config, out)
    small = {(pair["uid"], pair["view_index"]) for pair in pairs(out)}
    control(fake_config(models(*NAMES), captions__control_views=99), out)
    assert small < {(pair["uid"], pair["view_index"]) for pair in pairs(out)}
    assert len(pairs(out)) == 15


def test_the_same_control_again_writes_nothing(finished):
    config, out = finished
    assert control(config, out).made
    before = contents(out)
    again = control(config, out)
    assert not again.made
    assert again.figures.views == 7
    assert contents(out) == before


def test_a_control_of_other_captions_is_not_told(finished, models, fake_config):
    config, out = finished
    control(config, out)
    other = fake_config(models(*NAMES), captions__prompt="'A picture that is a {category}.'")
    run(other, out, render=False, recaption=True)
    assert "captioned both ways" not in (out / "README.md").read_text()


def test_silence_without_guidance_counts_as_not_naming(models, fake_config, tmp_path):
    config = fake_config(models(*NAMES), captions__options__empty_for="[short description]")
    config = config.model_copy(
        update={"captions": config.captions.model_copy(update={"prompt": "It is a {category}."})}
    )
    run(config, tmp_path / "out")
    figures = control(config, tmp_path / "out").figures
    assert (figures.views, figures.unguided) == (15, 0.0)
    assert {pair["unguided"] for pair in pairs(tmp_path / "out")} == {None}


def test_the_command_prints_the_result_as_data(finished):
    done = CliRunner().invoke(app, ["caption", str(finished[1]), "--control", "unguided"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "100.0% of 7 captions name their category with guidance, 0.0% without\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["guided"], "unknown control 'guided' (valid: unguided)"),
        (["unguided", "--shard", "0/2"], "--shard: a control takes the whole dataset"),
        (["unguided", "--images", "photos"], "--images: a control takes the whole dataset"),
    ],
)
def test_the_command_refuses_what_is_no_control(tmp_path, arguments: list[str], problem: str):
    done = CliRunner().invoke(app, ["caption", str(tmp_path), "--control", *arguments])
    assert isinstance(done.exception, UsageError)
    assert problem in str(done.exception)


def test_without_guided_captions_there_is_nothing_to_compare(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    run(config, out, caption=False)
    with pytest.raises(UsageError, match=r"run `mvcap caption .*` first"):
        control(config, out)
    unguided = fake_config(models(*NAMES), captions__prompt="Describe it.")
    run(unguided, out, render=False)
    with pytest.raises(UsageError, match="without guidance"):
        control(unguided, out)


def test_another_captioner_is_no_control(finished, models, fake_config):
    _, out = finished
    with pytest.raises(ConfigChangedError, match="must be made by the captioner of the dataset"):
        control(fake_config(models(*NAMES), captions__options__stutter_for="[cups]"), out)
