"""What is wrong is said on one screen, with what to do, before any rendering starts; exit 2."""

from pathlib import Path

import pytest

from mvcap import __version__

pytestmark = pytest.mark.slow

FAST = ("--runner", "local", "--set", "captions.backend=fake", "--set", "render.backend=fake")


def refused(done, *words: str) -> str:
    """Check that a command was refused, and that all words stand in its short message."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= 24
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    return done.stderr


def test_all_config_problems_are_told_at_once_with_the_nearest_names(mvcap, models, tmp_path):
    done = mvcap(
        "build-all",
        *("--models", models("a"), "--out", tmp_path / "out", "--runner", "local"),
        *(
            "--set",
            "render.view=3",
            "--set",
            "captions.options.num_beam=2",
            "--set",
            "sources.0.options.pth=x",
        ),
    )
    refused(done, "3 problems", "did you mean 'views'", "did you mean 'num_beams'", "did you mean 'path'")
    assert not (tmp_path / "out").exists()


def test_an_unknown_backend_light_or_recipe_lists_the_valid_names(mvcap, models, tmp_path):
    out = ("--models", models("a"), "--out", tmp_path / "out", "--runner", "local")
    refused(mvcap("build-all", *out, "--set", "captions.backend=instructblib"), "instructblip")
    refused(mvcap("render", *out, "--set", "render.light=studoi"), "'studio'")
    refused(mvcap("build-all", "--config", "dmeo"), "did you mean 'demo'")
    refused(mvcap("build-all", *out[:4], "--runner", "slurm"), "local, ray")


def test_an_empty_folder_is_refused(mvcap, tmp_path):
    (tmp_path / "empty").mkdir()
    done = mvcap("build-all", "--models", tmp_path / "empty", "--out", tmp_path / "out", *FAST)
    refused(done, "0 objects")


def test_a_missing_folder_is_refused(mvcap, tmp_path):
    refused(
        mvcap("build-all", "--models", tmp_path / "nowhere", "--out", tmp_path / "out", *FAST), "no folder"
    )


def test_no_source_at_all_is_refused(mvcap, tmp_path):
    refused(mvcap("build-all", "--out", tmp_path / "out", *FAST), "--models FOLDER")


def test_a_hub_model_that_cannot_be_had_is_refused_before_rendering(mvcap, models, tmp_path):
    done = mvcap(
        "build-all",
        *(
            "--models",
            models("a"),
            "--out",
            tmp_path / "out",
            "--runner",
            "local",
            "--set",
            "render.backend=fake",
        ),
        *("--set", "captions.options.model=nobody/no-such-model"),
        HF_HUB_OFFLINE="1",
    )
    refused(done, "nobody/no-such-model")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_a_renderer_that_is_not_there_is_refused(mvcap, models, tmp_path):
    done = mvcap(
        "render",
        *("--models", models("a"), "--out", tmp_path / "out", "--runner", "local"),
        *("--set", "render.blender=/nowhere/blender"),
    )
    refused(done, "/nowhere/blender")


def test_backgrounds_that_cannot_be_used_are_refused_before_rendering(mvcap, models, tmp_path):
    (tmp_path / "empty").mkdir()
    out = ("--models", models("a"), "--out", tmp_path / "out", *FAST)
    refused(mvcap("render", *out, "--set", f"render.backgrounds={tmp_path / 'empty'}"), "no picture")
    refused(mvcap("render", *out, "--set", "render.backgrounds=/nowhere"), "/nowhere", "No such file")
    alpha = ("--set", "render.image.keep_alpha=true", "--set", "render.image.format=png")
    refused(mvcap("render", *out, *alpha, "--set", "render.backgrounds=/nowhere"), "keep_alpha")
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_an_output_that_cannot_be_written_is_refused(mvcap, models, tmp_path):
    (tmp_path / "file").write_text("")
    refused(
        mvcap("build-all", "--models", models("a"), "--out", tmp_path / "file/out", *FAST), "cannot write"
    )


@pytest.mark.parametrize("command", ["verify", "status", "caption"])
def test_a_folder_without_a_dataset_is_refused(mvcap, tmp_path, command):
    refused(mvcap(command, tmp_path), "is not a dataset of mvcap: it has no _mvcap/")
    refused(mvcap(command, tmp_path / "none"), "is not a dataset of mvcap: there is no such folder")


@pytest.mark.parametrize("text", ["8/8", "1", "a/b", "-1/2", "0/0", "²/3", "0/" + "9" * 5000])
def test_a_slice_that_is_none_is_refused(mvcap, tmp_path, text):
    refused(mvcap("render", "--out", tmp_path, "--shard", text), "K/N")


def test_a_folder_named_like_a_package_of_ours_does_not_shadow_it(mvcap, tmp_path, monkeypatch):
    (tmp_path / "render").mkdir()
    (tmp_path / "render/__init__.py").write_text("raise RuntimeError('the wrong package')")
    monkeypatch.chdir(tmp_path)
    assert mvcap("--help").returncode == 0
    refused(mvcap("render", "--models", Path("nowhere"), "--runner", "local"), "no folder")


@pytest.mark.parametrize(
    "arguments", [("build-all", "--models", ""), ("render", "--out", ""), ("status", ""), ("verify", "")]
)
def test_an_empty_path_does_not_mean_the_present_folder(mvcap, models, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(models("a"))
    refused(mvcap(*arguments), "the path is empty")
    assert [path.name for path in Path().iterdir()] == ["a.obj"]


def test_an_empty_address_does_not_mean_this_machine(mvcap, models, tmp_path):
    out = ("--models", models("a"), "--out", tmp_path / "out")
    refused(mvcap("build-all", *out, "--address", ""), "HOST:PORT")


def test_the_version_is_printed_without_a_command(mvcap):
    done = mvcap("--version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")
