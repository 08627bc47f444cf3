"""What failed is tried again at a word; all other rows keep their bytes, and nobody writes them again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap import plugins, recipes
from mvcap.commits import CAPTION, RENDER
from mvcap.config import Config
from mvcap.errors import ConfigChangedError, InfrastructureError, UnknownNameError, UsageError
from mvcap.files import sha256_of
from mvcap.storage import Store
from mvcap.verify import verify_dataset
from pipelines.build_all import build
from pipelines.removing import remove_objects
from pipelines.retrying import retry
from pipelines.runners.local import LocalRunner
from pipelines.second_tries import Selection
from pipelines.shards import ShardWorker
from pipelines.status import dataset_status
from pipelines.surveying import Outcome
from pipelines.todo import Request

EVERYTHING = Selection()
VIEWS = 3
CATEGORIES = ("chairs", "cups", "silent", "tables")
"""Of two objects each; the captioner's server says nothing of the third until it is mended."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three pictures of each of eight objects: one cannot be read at all, of another one picture cannot."""
    folder = tmp_path / "photos"
    lines = ["file_name,category,uid,view_index"]
    for at, category in enumerate(CATEGORIES):
        for number in range(2):
            for view in range(VIEWS):
                name = f"{category}/{number}-{view}.png"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (20 + at, 10 + number), (80 * view, 60 * at, 200 * number)).save(
                    folder / name
                )
                lines.append(f"{name},{category},{category}-{number},{view}")
    (folder / "metadata.csv").write_text("\n".join(lines))
    for broken in ("cups/0-1.png", *(f"tables/1-{view}.png" for view in range(VIEWS))):
        keep = folder / f"{broken}.sound"
        (folder / broken).rename(keep)
        (folder / broken).write_bytes(keep.read_bytes()[:30])
    return folder


@pytest.fixture
def mend(photos: Path) -> Callable[[], None]:
    def restore() -> None:
        for path in photos.rglob("*.sound"):
            path.rename(path.with_suffix(""))

    return restore


@pytest.fixture
def config(photos: Path, openai_server: Any) -> Config:
    options = {"base_url": openai_server.url, "model": "test/vision-model", "retries": 0}
    settings = {
        "sources": [{"source": "images", "options": {"path": str(photos)}}],
        "plan": {"objects_per_shard": 3, "splits": {"train": 1.0}},
        "captions": {"backend": "openai", "options": options, "synonyms": "table"},
        "run": {"render_workers": 1},
    }
    return recipes.build_config(settings, plugins.options_model)


def run(config: Config, out: Path, **request: Any) -> Outcome:
    return build(config, Request(out, **request), LocalRunner(), lambda _: None)


def again(config: Config, out: Path, selection: Selection = EVERYTHING) -> Outcome:
    return retry(config, out, selection, LocalRunner(), lambda _: None)


def rows(out: Path) -> dict[tuple[str, int], dict[str, Any]]:
    tables = [pq.read_table(path).to_pylist() for path in sorted((out / "data").glob("*.parquet"))]
    return {(row["uid"], row["view_index"]): row for table in tables for row in table}


def failures(out: Path) -> dict[tuple[str, int | None], dict[str, Any]]:
    table = pq.read_table(out / "failures.parquet").to_pylist()
    return {(row["uid"].rsplit("-", 1)[0], row["view_index"]): row for row in table}


def count(failed: dict[Any, dict[str, Any]]) -> dict[str, int]:
    reasons = [row["reason"] for row in failed.values()]
    return {reason: reasons.count(reason) for reason in reasons}


def pictures_asked_of(server: Any) -> int:
    """Count the pictures that were sent; a caption that echoes its prompt is asked for twice."""
    sent = {json.dumps(request["messages"]) for request in server.requests}
    return len(sent) - 1  # by the last one the captioner was checked


@pytest.fixture
def built(config: Config, tmp_path: Path) -> Path:
    run(config, tmp_path / "out")
    assert count(failures(tmp_path / "out")) == {"bad_asset": 4, "empty_caption": 6}
    return tmp_path / "out"


def test_what_is_mended_joins_and_all_other_rows_keep_their_bytes(built, config, mend, openai_server):
    before = rows(built)
    assert len(before) == 24 - 4 - 6
    mend()
    openai_server.mended = True
    openai_server.requests.clear()
    outcome = again(config, built)
    assert (outcome.failures, outcome.complete, outcome.views) == ((), True, 24)
    after = rows(built)
    assert {key: after[key] for key in before} == before
    assert len(after) == 24
    assert pictures_asked_of(openai_server) == 10
    assert verify_dataset(built, deep=True) == []
    for path in (built / "data").glob("*.parquet"):
        keys = [(row["uid"], row["view_index"]) for row in pq.read_table(path).to_pylist()]
        assert keys == sorted(keys)
    assert not list((built / "_mvcap/views").glob("*"))


def test_shards_without_failures_are_not_touched(built, config, mend):
    store = Store(built)
    shards = store.require_plan().shards
    sound = [
        shard
        for shard in shards
        if not any(store.read_commit(stage, shard.index).rejected for stage in (RENDER, CAPTION))
    ]
    cups = next(shard for shard in shards if any("cups-0" in uid for uid in shard.uids))
    files = {shard: store.target(CAPTION, shard) for shard in (*sound, cups)}
    records = {shard: store.commit_path(CAPTION, shard.index).read_bytes() for shard in sound}
    digests = {shard: sha256_of(path) for shard, path in files.items() if path.exists()}
    mend()
    again(config, built, Selection(uids=frozenset(uid for uid in cups.uids if "cups-0" in uid)))
    changed = {shard for shard in digests if sha256_of(files[shard]) != digests[shard]}
    assert changed == {cups}
    assert {shard: store.commit_path(CAPTION, shard.index).read_bytes() for shard in sound} == records


def test_what_fails_again_counts_its_attempts_and_changes_no_row(built, config):
    before = rows(built)
    outcome = again(config, built)
    assert len(outcome.failures) == 10
    assert rows(built) == before
    failed = failures(built)
    assert count(failed) == {"bad_asset": 4, "empty_caption": 6}
    assert {row["attempts"] for row in failed.values() if row["reason"] == "bad_asset"} == {2}
    assert verify_dataset(built, deep=True) == []
    views = list((built / "_mvcap/views").glob("*.parquet"))
    assert len(views) == 1  # of the shard that lacks captions, for whoever writes them later


def test_only_the_named_reasons_are_tried(built, config, mend, openai_server):
    mend()
    openai_server.mended = True
    outcome = again(config, built, Selection(reasons=frozenset({"empty_caption"})))
    assert {failure.reason for failure in outcome.failures} == {"bad_asset"}
    assert outcome.views == 20
    outcome = again(config, built, Selection(reasons=frozenset({"bad_asset", "crash"})))
    assert (outcome.failures, outcome.views) == ((), 24)


def test_a_run_that_ended_between_views_and_captions_is_finished_by_any_build(
    built, config, mend, openai_server
):
    before = rows(built)
    mend()
    openai_server.mended = openai_server.gone = True
    with pytest.raises((InfrastructureError, UsageError)):
        again(config, built)
    openai_server.gone = False
    stop_before_captions(config, built)
    assert rows(built) == before
    assert not dataset_status(built)["complete"]
    assert any("older than their views" in problem.message for problem in verify_dataset(built, mark=False))
    openai_server.requests.clear()
    outcome = run(config, built)
    assert (outcome.complete, outcome.views) == (True, 18)
    after = rows(built)
    assert {key: after[key] for key in before} == before
    assert pictures_asked_of(openai_server) == 4  # what was mended; silence is not asked again
    assert count(failures(built)) == {"empty_caption": 6}
    assert verify_dataset(built, deep=True) == []


def test_what_was_rendered_again_gets_its_captions_though_a_neighbour_is_removed_first(
    built, config, mend, openai_server
):
    mend()
    openai_server.mended = True
    stop_before_captions(config, built)
    store = Store(built)
    (mended,) = (item.uid for item in store.read_objects() if item.record.source_id == "tables-1")
    shard = next(shard for shard in store.require_plan().shards if mended in shard.uids)
    neighbour = next(uid for uid in shard.uids if uid != mended)
    remove_objects(config, built, [neighbour], "licence withdrawn", lambda _: None)
    assert not dataset_status(built)["complete"]
    assert run(config, built).complete
    assert {view for uid, view in rows(built) if uid == mended} == {0, 1, 2}
    assert verify_dataset(built, deep=True) == []


def test_the_same_second_try_goes_on_where_it_was_cut_off(built, config, mend, openai_server):
    mend()
    openai_server.mended = True
    stop_before_captions(config, built)
    said: list[str] = []
    nothing = Selection(frozenset({"timeout"}))
    outcome = retry(config, built, nothing, LocalRunner(), said.append)
    assert (outcome.complete, outcome.views) == (True, 18)  # silence was not asked for
    assert not any("nothing to try again" in line for line in said)
    assert again(config, built).views == 24
    assert verify_dataset(built, deep=True) == []


def stop_before_captions(config: Config, out: Path) -> None:
    """Try again as far as a run comes that is killed once all is rendered."""

    class Killed(Exception):
        pass

    class RendersOnly(LocalRunner):
        def run(self, stages, root, ledger, observer):
            render = next(stage for stage in stages if stage.name == RENDER)
            with ShardWorker(render, root, drop_views=True) as worker:
                for assignment in iter(lambda: ledger.take(RENDER), None):
                    worker.run(assignment, lambda _: None)
            raise Killed

    with pytest.raises(Killed):
        retry(config, out, EVERYTHING, RendersOnly(), lambda _: None)


def test_a_dataset_without_captions_stays_without(config, mend, tmp_path):
    out = tmp_path / "out"
    assert len(run(config, out, caption=False).failures) == 4
    mend()
    outcome = again(config, out)
    assert (outcome.views, outcome.uncaptioned, outcome.failures) == (24, 24, ())
    assert verify_dataset(out, deep=True) == []


def test_settings_that_change_pictures_or_captions_are_refused(built, config):
    other = config.model_copy(
        update={"captions": config.captions.model_copy(update={"prompt": "A {category}."})}
    )
    with pytest.raises(ConfigChangedError, match="prompt"):
        again(other, built)


def test_unknown_reasons_and_objects_are_refused_by_name(built, config):
    with pytest.raises(UnknownNameError, match="did you mean 'timeout'"):
        again(config, built, Selection(reasons=frozenset({"timeuot"})))
    with pytest.raises(UsageError, match="has no object nobody"):
        again(config, built, Selection(uids=frozenset({"nobody"})))


def test_nothing_happens_where_nothing_is_selected(built, config):
    before = {path: path.read_bytes() for path in built.rglob("*") if path.is_file()}
    said: list[str] = []
    outcome = retry(config, built, Selection(reasons=frozenset({"crash"})), LocalRunner(), said.append)
    assert len(outcome.failures) == 10
    assert said == ["nothing of what is asked for has failed: there is nothing to try again"]
    assert {path: path.read_bytes() for path in built.rglob("*") if path.is_file()} == before
