"""The page of a dataset: written at a build's end, true to the rows, safe, bounded."""

import json
import re
import runpy
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mvcap.config import Config
from mvcap.errors import OutputError
from mvcap.records import Rejected
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.reporting import Written, report_dataset
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request


@pytest.fixture(scope="session")
def doubles() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "doubles" / "page_dataset.py")))


def report(root: Path, *, sample: int = 1000, seed: int = 0, out: Path | None = None) -> Written:
    return report_dataset(Config(name="test"), root, out, sample=sample, seed=seed)


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL
    )
    return json.loads(found.group(1))


def listed_captions(page: Path) -> set[str]:
    data = data_of(page)
    return {data["texts"][number] for number in data["views"]["caption"][: data["listed"]]}


def test_a_build_ends_with_a_page_and_a_finished_one_is_left_alone(models, fake_config, tmp_path):
    out = tmp_path / "out"
    arguments = (fake_config(models("chair/a", "cup/b")), Request(out), LocalRunner(), lambda _: None)
    build(*arguments)
    page = out / "report" / "index.html"
    assert data_of(page)["listed"] == 6
    assert "<h1>out</h1>" in page.read_text(), "no recipe has named it"
    assert page.read_text().count("No model wrote the captions.") == 2, "at the top, and beside the captions"
    assert "Written by <code>fake:mean colour</code>." in page.read_text()
    assert verify_dataset(out) == []
    report(out, sample=2)
    written = page.read_bytes()
    build(*arguments)
    assert page.read_bytes() == written, "whatever `mvcap report` made of it last is left as it is"
    page.unlink()
    build(*arguments)
    assert data_of(page)["listed"] == 6


def test_an_unfinished_dataset_has_a_page_too(models, fake_config, tmp_path):
    out = tmp_path / "out"
    config = fake_config(models("chair/a", "cup/b", "cup/c"), plan__objects_per_shard=1)
    build(config, Request(out, part=(0, 2)), LocalRunner(), lambda _: None)
    page = report(out).path.read_text()
    assert "This dataset is unfinished" in page
    assert "2</b><span>objects of 3" in page


def test_every_listed_view_is_told_as_its_row_has_it(doubles, tmp_path):
    changes = {
        ("a", 2): {"caption": "a zebra", "other_category": "cup", "category_match": None, "clip_score": 0.25}
    }
    doubles.write(tmp_path, [doubles.Thing("a"), doubles.Thing("b", "cup")], views=5, changes=changes)
    data = data_of(report(tmp_path).path)
    views, texts = data["views"], data["texts"]
    assert data["listed"] == len(views["caption"]) == 10
    place = next(n for n, caption in enumerate(views["caption"]) if texts[caption] == "a zebra")
    assert data["objects"][views["object"][place]]["name"] == "a"
    assert (views["index"][place], texts[views["other"][place]], views["score"][place]) == (2, "cup", 0.25)
    assert (views["azimuth"][place], views["match"][place]) == (144.0, None)
    assert all(frame is not None for frame in views["frame"])


def test_a_sample_is_drawn_by_seed_and_the_counts_are_of_all(doubles, tmp_path):
    doubles.write(tmp_path, [doubles.Thing(f"thing {n}") for n in range(20)], views=8)
    first, again = report(tmp_path, sample=10), report(tmp_path, sample=10, out=tmp_path / "again.html")
    assert (first.listed, first.views) == (10, 160)
    assert first.path.read_bytes() == again.path.read_bytes()
    other = report(tmp_path, sample=10, seed=1, out=tmp_path / "other.html")
    assert listed_captions(other.path) != listed_captions(first.path)
    page = first.path.read_text()
    assert "10 of 160 views are listed" in page
    assert "Counted over all 160 views" in page


def test_only_our_own_script_may_run_and_nothing_may_be_loaded(doubles, tmp_path):
    evil = "</script><script src=https://evil.example/x.js></script>"
    doubles.write(tmp_path, [doubles.Thing(evil, evil, evil, evil, "javascript:alert(1)", caption=evil)])
    page = report(tmp_path).path.read_text()
    assert page.count("<script") == page.count("</script>") == 2
    code = page[page.index("<script>") + len("<script>") : page.rindex("</script>")]
    allowed = b64encode(sha256(code.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert f"script-src 'sha256-{allowed}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "evil.example/x.js></script>" not in page
    assert data_of(tmp_path / "report" / "index.html")["objects"][0]["url"] is None


def test_a_page_that_cannot_be_written_is_told(doubles, tmp_path):
    doubles.write(tmp_path, [doubles.Thing("a")])
    with pytest.raises(OutputError, match="--out"):
        report(tmp_path, out=tmp_path / "_mvcap" / "plan.json" / "page.html")
    with pytest.raises(OutputError, match="is not a dataset of mvcap"):
        report(tmp_path / "report")


def test_failures_are_listed_with_their_logs_whole_objects_first(doubles, tmp_path):
    log = "x" * 9000 + "\nSegmentation <fault>"
    failed = [
        Rejected("folder-b", "render", "bad_views", "black", view_index=7),
        Rejected("folder-a", "render", "crash", "the child died", attempts=2, signal="SIGSEGV", log_tail=log),
    ]
    doubles.write(tmp_path, [doubles.Thing("c")], failed=failed)
    page = report(tmp_path).path.read_text()
    listed = page[page.index('id="failures"') :]
    assert re.findall(r"<summary><b>(.*?)</b>", listed) == ["folder-a", "folder-b"]
    assert "folder-b</b> view 7" in listed
    assert "render, SIGSEGV" in listed
    assert "Segmentation &lt;fault&gt;" in listed
    assert listed.count("x" * 1000) == 3, "the end of a long log"


def test_one_of_a_thing_is_told_as_one(doubles, tmp_path):
    lost = Rejected("folder-b", "render", "crash", "SIGSEGV")
    doubles.write(tmp_path, [doubles.Thing("a")], views=1, failed=[lost])
    body = re.sub(
        r"<script.*?</script>|<style>.*?</style>", "", report(tmp_path).path.read_text(), flags=re.DOTALL
    )
    words = " ".join(re.sub(r"<[^>]+>", " ", body).split())
    assert "1 view of 1 object in 1 category" in words
    assert re.findall(r"\b1 (?:views|objects|captions|categories|licences|failures)\b", words) == []
