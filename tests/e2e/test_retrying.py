"""`mvcap retry` with a real Blender: what failed is mended, or given more time, and joins the dataset."""

import json
import sys

import pyarrow.parquet as pq
import pytest

TINY = (
    *("--set", "render.views=2", "--set", "render.resolution=48", "--set", "captions.backend=template"),
    *("--set", "render.preset=fast", "--set", "plan.objects_per_shard=2"),
)


def rows(out):
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "data").glob("*.parquet"))]
    return {(row["uid"], row["view_index"]): row for table in tables for row in table}


def failures(out):
    """Map the first word of each failed model's name to its reason."""
    table = pq.read_table(out / "failures.parquet").to_pylist()
    return {row["uid"].split("-")[2]: row["reason"] for row in table}


@pytest.mark.blender
@pytest.mark.ray
@pytest.mark.slow
def test_a_model_that_hung_is_given_more_time_and_a_broken_one_is_mended(
    mvcap, models, misbehaving_blender, tmp_path
):
    folder, out = models("things/a", "things/b", "things/hang-load-once"), tmp_path / "out"
    (folder / "things/broken.obj").write_text("no model")
    misbehaving = (
        "--set",
        f"render.blender={misbehaving_blender}",
        "--set",
        "render.options.step_timeout_s=6",
    )
    build = ("build-all", "--models", folder, "--out", out, "--runner", "local", *TINY, *misbehaving)
    done = mvcap(*build)
    assert done.returncode == 3, done.stderr
    assert failures(out) == {"hang": "timeout", "broken": "bad_asset"}
    before = rows(out)
    assert mvcap(*build).returncode == 3
    assert rows(out) == before

    done = mvcap("retry", out, "--runner", "local", "--reason", "timeout")
    assert done.returncode == 3, done.stderr
    assert failures(out) == {"broken": "bad_asset"}
    (folder / "things/broken.obj").write_text((folder / "things/a.obj").read_text() + "# mended")
    done = mvcap("retry", out, "--failed", "--set", f"render.blender={sys.executable}")  # on Ray
    assert done.returncode == 0, done.stderr
    assert len(rows(out)) == 8
    assert {key: rows(out)[key] for key in before} == before
    assert mvcap("verify", out).returncode == 0
    assert json.loads(mvcap("status", out, "--json").stdout)["failures"] == {}


def test_a_retry_says_what_it_wants(mvcap, tmp_path):
    done = mvcap("retry", tmp_path)
    assert done.returncode == 2
    assert "--failed for everything" in done.stderr
    assert mvcap("retry", tmp_path, "--failed").returncode == 2
