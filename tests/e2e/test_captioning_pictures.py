"""The command over a folder of pictures: in slices, in a SLURM array, stopped and taken up again."""

import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

FAKE = ("--runner", "local", "--set", "captions.backend=fake")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for index in range(24):
        path = tmp_path / "photos" / ("chairs" if index % 2 else "cups") / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (10 * index, 90, 200)).save(path)
    return tmp_path / "photos"


def captions(out: Path) -> dict[str, str]:
    tables = (pq.read_table(path).to_pylist() for path in (out / "data").glob("*.parquet"))
    return {row["source_id"]: row["caption"] for rows in tables for row in rows}


@pytest.mark.slow
def test_tasks_of_a_slurm_array_are_slices_and_an_explicit_one_wins(mvcap, photos, tmp_path):
    arguments = ("caption", "--images", photos, "--out", tmp_path / "out", *FAKE)
    arguments += ("--set", "plan.objects_per_shard=8")
    array = {"SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "3"}
    first = mvcap(*arguments, SLURM_ARRAY_TASK_ID="1", **array)
    assert first.returncode == 0, first.stderr
    assert "slice 0/3, from the SLURM array" in first.stderr
    assert len(captions(tmp_path / "out")) == 8
    explicit = mvcap(*arguments, "--shard", "2/3", SLURM_ARRAY_TASK_ID="1", **array)
    assert "SLURM" not in explicit.stderr
    assert len(captions(tmp_path / "out")) == 16
    last = mvcap(*arguments, SLURM_ARRAY_TASK_ID="2", **array)
    assert "24 views of 24 of 24 objects" in last.stderr
    assert "not finished" in explicit.stderr
    assert "not finished" not in last.stderr
    assert "import: 8 views in " in last.stderr
    assert "caption: 8 views in " in last.stderr
    assert "views/s; the device waited for" in last.stderr
    assert len(captions(tmp_path / "out")) == 24


@pytest.mark.slow
def test_a_run_that_is_told_to_end_keeps_its_shards_and_is_taken_up(mvcap, start_mvcap, photos, tmp_path):
    def arguments(out: str, seconds: float) -> tuple[object, ...]:
        pace = ("--set", f"captions.options.image_seconds={seconds}", "--set", "plan.objects_per_shard=2")
        return ("caption", "--images", photos, "--out", tmp_path / out, *FAKE, *pace)

    process = start_mvcap(*arguments("out", 0.1))
    commits = tmp_path / "out" / "_mvcap" / "commits" / "caption"
    deadline = time.monotonic() + 60
    while len(list(commits.glob("*.json"))) < 2:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=10)[0]
    assert process.returncode == 143
    assert "the device waited for" in said, "the summary comes all the same"
    assert "the same command goes on" in said
    kept = captions(tmp_path / "out")
    assert 4 <= len(kept) < 24

    again = mvcap(*arguments("out", 0.1))
    assert again.returncode == 0, again.stderr
    assert mvcap(*arguments("undisturbed", 0)).returncode == 0
    assert captions(tmp_path / "out") == captions(tmp_path / "undisturbed")
    assert kept.items() <= captions(tmp_path / "out").items()
    assert mvcap("verify", tmp_path / "out").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [(), ("somewhere", "--images", "photos"), ("--images", "photos"), ("somewhere", "--out", "elsewhere")],
    ids=" ".join,
)
def test_a_dataset_or_a_folder_with_an_output_must_be_named(mvcap, arguments):
    result = mvcap("caption", *arguments)
    assert result.returncode == 2
    assert "--images FOLDER together with --out DIR" in result.stderr


@pytest.mark.slow
def test_a_served_model_captions_and_its_key_is_written_nowhere(mvcap, photos, openai_server, tmp_path):
    openai_server.key = "sk-very-secret"
    arguments = ("caption", "--images", photos, "--out", tmp_path / "out", "--runner", "local")
    for setting in (
        "captions.backend=openai",
        "captions.options.model=test/vision-model",
        f"captions.options.base_url={openai_server.url}",
    ):
        arguments += ("--set", setting)
    refused = mvcap(*arguments, OPENAI_API_KEY="")
    assert refused.returncode == 2
    assert "OPENAI_API_KEY is not set" in refused.stderr
    done = mvcap(*arguments, OPENAI_API_KEY=openai_server.key)
    assert done.returncode == 0, done.stderr
    assert len(captions(tmp_path / "out")) == 24
    written = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(openai_server.key.encode() in data for data in written)
    assert openai_server.key not in done.stdout + done.stderr
