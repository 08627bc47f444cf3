"""`mvcap plan` and `--dry-run`: what a build would take, said without doing any of it."""

import json

import pytest

pytestmark = pytest.mark.slow

FAKE = ("--set", "render.backend=fake", "--set", "captions.backend=fake", "--set", "render.views=3")
UNREACHABLE = {"HF_ENDPOINT": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


def test_a_plan_is_data_on_stdout_and_exits_with_0(mvcap, models):
    done = mvcap("plan", "--models", models("chairs/a", "cups/b"), *FAKE, "--json", **UNREACHABLE)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert (plan["objects"], plan["views"]) == (2, 6)
    assert [(work["stage"], work["views"], work["hours"]) for work in plan["work"]] == [
        ("render", 6, None),
        ("caption", 6, None),
    ]
    assert {finding["name"] for finding in plan["machine"]} >= {"folder", "renderer", "captioner", "disk"}


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1)])
def test_what_is_missing_is_an_error_on_demand_only(mvcap, tmp_path, strict, code):
    done = mvcap("plan", "--models", tmp_path / "none", *FAKE, *strict)
    assert done.returncode == code, done.stderr
    assert "FAIL folder" in done.stdout
    assert f"there is no folder {tmp_path / 'none'}" in done.stdout


def test_a_dry_run_says_what_would_be_done_and_does_nothing(mvcap, models, tmp_path):
    out = tmp_path / "out"
    done = mvcap(
        "build-all", "--models", models("chairs/a"), "--out", out, *FAKE[:-2], "--views", "7", "--dry-run"
    )
    assert done.returncode == 0, done.stderr
    assert "1      7  to render, counted here" in done.stdout
    assert not out.exists()


def test_a_plan_of_nothing_is_wrong_usage(mvcap):
    done = mvcap("plan")
    assert done.returncode == 2
    assert "0 objects" in done.stderr


def test_the_papers_dataset_is_planned_on_a_machine_that_has_nothing_and_no_network(mvcap, tmp_path):
    nothing = {name: str(tmp_path) for name in ("HOME", "HF_HOME", "XDG_CACHE_HOME", "MVCAP_CACHE")}
    done = mvcap("plan", "--config", "mvcap-4m", "--json", **nothing, **UNREACHABLE)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    counted = [(source["source"], source["objects"], source["views"]) for source in plan["sources"]]
    assert counted == [
        ("objaverse", 24_495, 2_449_500),
        ("mvimgnet", 78_000, 2_418_000),
        ("im3d", 1_000, 100_000),
    ]
    work = {stage["stage"]: stage for stage in plan["work"]}
    assert {name: stage["views"] for name, stage in work.items()} == {
        "render": 2_449_500,
        "import": 2_518_000,
        "caption": 4_967_500,
    }
    assert 100 < work["render"]["hours"] < 10_000
    assert work["caption"]["hours"] is None  # nobody measured the paper's captioner
    missing = {finding["name"] for finding in plan["machine"] if not finding["fine"]}
    assert missing >= {"mvimgnet", "im3d", "embeddings", "categories", "captioner"}
