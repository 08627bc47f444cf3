"""A dataset has one version of its renderer, unless mixed ones are allowed.

There is one bpy on this machine: the two versions are those that the fake renderer claims to be.
"""

import itertools
import json

import pyarrow.parquet as pq
import pytest

from mvcap.commits import RENDER
from mvcap.errors import MixedRenderersError, UsageError
from mvcap.storage import Store
from pipelines.build_all import build
from pipelines.merging import merge_datasets
from pipelines.renderer_versions import committed_versions, describe, versions_of
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request
from render.backends.fake import FakeRenderer


def run(config, out, **request):
    return build(config, Request(out, **request), LocalRunner(drop_views=True), lambda _: None)


def versions(out):
    store = Store(out)
    return committed_versions(store, store.require_plan())


@pytest.fixture
def built(models, fake_config, tmp_path):
    run(fake_config(models("chairs/a", "chairs/b")), tmp_path / "out")
    return tmp_path / "out"


def test_every_commit_tells_the_version_of_its_renderer(built):
    record = json.loads(Store(built).commit_path(RENDER, 0).read_bytes())
    assert record["made_by"] == {"name": "fake", "fake": "1"}
    assert versions(built) == [{"fake": "1"}]


def test_another_version_is_refused_with_both_before_anything_is_rendered(built, models, fake_config):
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file()}
    config = fake_config(models("cups/c"), render__options__version="'2'")
    with pytest.raises(MixedRenderersError) as refused:
        run(config, built)
    assert "this dataset was rendered by fake 1, and here is fake 2" in str(refused.value)
    assert "--set run.mixed_renderers=true" in str(refused.value)
    assert {path: path.read_bytes() for path in built.rglob("*") if path.is_file()} == before


def test_another_version_may_caption_and_look_at_what_is_rendered(built, models, fake_config):
    config = fake_config(models(), render__options__version="'2'")
    assert run(config, built).complete


def test_mixed_versions_are_recorded_where_they_are_allowed(built, models, fake_config):
    mixed = {"render__options__version": "'2'", "run__mixed_renderers": "true"}
    run(fake_config(models("cups/c"), **mixed), built)
    assert versions(built) == [{"fake": "1"}, {"fake": "2"}]
    rows = [row for path in (built / "data").iterdir() for row in pq.read_table(path).to_pylist()]
    assert {(row["category"], row["renderer"]) for row in rows} == {("chairs", "fake 1"), ("cups", "fake 2")}


def two_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver and the first worker have one version, and every other worker another."""
    to_give = itertools.chain(["1", "1"], itertools.repeat("2"))
    given: list[tuple[FakeRenderer, str]] = []

    def versions(self: FakeRenderer) -> dict[str, str]:
        if not any(renderer is self for renderer, _ in given):
            given.append((self, next(to_give)))
        return {"fake": next(version for renderer, version in given if renderer is self)}

    monkeypatch.setattr(FakeRenderer, "versions", versions)


def test_a_node_with_another_version_is_refused_by_name(models, fake_config, tmp_path, monkeypatch):
    two_nodes(monkeypatch)
    config = fake_config(models("chairs/a", "cups/b", "cups/c"), run__render_workers=2)
    with pytest.raises(MixedRenderersError, match=r"node .+ has fake 2, the driver fake 1"):
        run(config, tmp_path / "out")


def test_a_node_with_another_version_works_where_that_is_allowed(models, fake_config, tmp_path, monkeypatch):
    two_nodes(monkeypatch)
    config = fake_config(
        models("chairs/a", "cups/b", "cups/c"), run__render_workers=2, run__mixed_renderers="true"
    )
    assert run(config, tmp_path / "out").complete


def test_a_slice_beside_another_version_is_refused(models, fake_config, tmp_path):
    config = fake_config(models("chairs/a", "cups/b", "cups/c"), render__options__version="'2'")
    store = Store(tmp_path / "out")
    with store.lock((0, 2)) as hold:
        hold.announce(settings={}, renderer={"fake": "1"})
        with pytest.raises(
            MixedRenderersError, match=r"another slice, on .*, renders by fake 1, this one by fake 2"
        ):
            run(config, tmp_path / "out", part=(1, 2), caption=False)
    assert versions_of({"name": "pictures", "pillow": "12"}) == {}


def test_datasets_of_different_versions_are_joined_only_where_that_is_allowed(models, fake_config, tmp_path):
    one, two, out = (tmp_path / name for name in ("one", "two", "joined"))
    run(fake_config(models("chairs/a")), one)
    (tmp_path / "models/chairs/a.obj").unlink()
    run(fake_config(models("cups/b"), render__options__version="'2'"), two)
    with pytest.raises(UsageError, match=r"renderer versions: \['fake 1'\] \| \['fake 2'\]"):
        merge_datasets([one, two], out, lambda _: None)
    merge_datasets([one, two], out, lambda _: None, mixed_renderers=True)
    assert [describe(each) for each in versions(out)] == ["fake 1", "fake 2"]
