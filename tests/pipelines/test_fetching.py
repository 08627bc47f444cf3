"""Models that are fetched while others are rendered, and what a build makes of a hub that fails."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mvcap import plugins, recipes
from mvcap.config import Config
from mvcap.errors import FetchError, HubUnreachableError
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.storage import Store
from pipelines.build_all import build
from pipelines.fetching import fetch_ahead
from pipelines.reproducing import reproduce_view
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request


def new_object(number: int, folder: Path) -> SelectedObject:
    uid = f"far-{number}"
    asset = str(folder / uid)
    return SelectedObject(ObjectRecord(uid, "far", uid, uid, asset, None, None, None), "chair")


class Slow:
    """Fetches an empty file, in the order in which a test lets it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lock = threading.Lock()

    def check(self, missing: Sequence[SelectedObject]) -> None:
        pass

    def fetch(self, item: SelectedObject) -> None:
        with self.lock:
            self.asked.append(item.uid)
        if item.uid == "far-2":
            raise FetchError("gone")
        time.sleep(0.01)
        Path(item.record.asset).touch()


def test_objects_keep_their_order_and_a_failure_is_one_of_them(tmp_path: Path):
    objects = [new_object(number, tmp_path) for number in range(6)]
    got = list(fetch_ahead(objects, {"far": Slow()}, threads=3))
    assert [item.uid for item in got] == [item.uid for item in objects]
    (failed,) = [item for item in got if isinstance(item, Rejected)]
    assert (failed.uid, failed.stage, failed.reason, failed.message) == ("far-2", "fetch", "hub", "gone")


def test_what_is_fetched_ahead_is_bounded(tmp_path: Path):
    slow = Slow()
    got = fetch_ahead((new_object(number, tmp_path) for number in range(50)), {"far": slow}, threads=2)
    next(got)
    time.sleep(0.2)
    assert 2 <= len(slow.asked) <= 5
    assert isinstance(got, Iterator)
    got.close()  # type: ignore[attr-defined]


def test_what_is_there_already_is_not_fetched(tmp_path: Path):
    item = new_object(0, tmp_path)
    Path(item.record.asset).touch()
    slow = Slow()
    assert list(fetch_ahead([item], {"far": slow}, threads=1)) == [item]
    assert slow.asked == []


# --- a build from a hub ----------------------------------------------------------------------------


@pytest.fixture
def objaverse_config(tmp_path: Path) -> Callable[..., Config]:
    """Make a configuration that renders, with the fake renderer, what the hub serves."""

    def make(**options: Any) -> Config:
        settings = {
            "sources": [{"source": "objaverse", "options": {"path": str(tmp_path / "cache"), **options}}],
            "plan": {"objects_per_shard": 2, "splits": {"train": 1.0}},
            "render": {"backend": "fake", "views": 2, "resolution": 32},
            "run": {"render_workers": 1},
        }
        return recipes.build_config(settings, plugins.options_model, captions=False)

    return make


@pytest.fixture
def served(hub: Any, objaverse_double: SimpleNamespace) -> Path:
    things = [objaverse_double.Thing(f"{n:032x}", lvis=("chair",)) for n in range(5)]
    root: Path = objaverse_double.write(hub.root / "datasets" / objaverse_double.DATASET, things)
    return root


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mvcap.hub.time", SimpleNamespace(sleep=lambda _: None))


def run(config: Config, out: Path) -> Any:
    return build(config, Request(out, caption=False), LocalRunner(), lambda _: None)


def test_a_build_fetches_what_it_renders_and_tells_the_licence_of_every_view(
    served: Path, objaverse_config: Callable[..., Config], tmp_path: Path
):
    outcome = run(objaverse_config(), tmp_path / "out")
    assert (outcome.done, outcome.views, outcome.failures) == (5, 10, ())
    store = Store(tmp_path / "out")
    rows = [
        row
        for shard in store.require_plan().shards
        for t in store.read_view_rows(shard)
        for row in t.to_pylist()
    ]
    assert {(row["license"], row["creator"]) for row in rows} == {("CC-BY-4.0", "Ada Lovelace")}
    assert all(row["source_url"] == f"https://sketchfab.com/3d-models/{row['source_id']}" for row in rows)
    assert len({row["asset_sha256"] for row in rows}) == 1
    assert len(list((tmp_path / "cache" / "glbs").rglob("*.glb"))) == 5


def test_objects_that_the_hub_does_not_give_are_failures_and_the_others_finish(
    hub: Any,
    hub_double: SimpleNamespace,
    served: Path,
    objaverse_config: Callable[..., Config],
    tmp_path: Path,
):
    (served / "glbs" / "000-023" / f"{1:032x}.glb").unlink()
    hub.fail("HEAD", f"{2:032x}.glb", hub_double.refusing(403))
    hub.fail("GET", f"{3:032x}.glb", *[hub_double.corrupted()] * 3)
    outcome = run(objaverse_config(), tmp_path / "out")
    assert outcome.complete
    assert outcome.done == 2
    said = sorted(item.message.split(": ", 1)[1] for item in outcome.failures)
    assert [(item.stage, item.reason) for item in outcome.failures] == [("fetch", "hub")] * 3
    assert "checksum" in said[1]
    assert "does not hold this file" in said[0]
    assert "refuses access" in said[2]


def test_a_hub_that_goes_away_ends_the_run_which_goes_on_later(
    hub: Any,
    hub_double: SimpleNamespace,
    served: Path,
    objaverse_config: Callable[..., Config],
    tmp_path: Path,
):
    gone = [hub_double.refusing(503)] * 20
    hub.fail("HEAD", f"{4:032x}.glb", *gone)
    config = objaverse_config()

    def fail_once_rendering(handler: Any, path: Path) -> bool:
        hub.fail("HEAD", "object-paths.json.gz", *gone)
        return False

    hub.fail("GET", f"{0:032x}.glb", fail_once_rendering)
    with pytest.raises(HubUnreachableError, match="The same command goes on from here"):
        run(config, tmp_path / "out")
    hub.faults.clear()
    outcome = run(config, tmp_path / "out")
    assert (outcome.done, outcome.failures) == (5, ())


def test_a_picture_is_made_again_from_a_model_that_is_fetched_again(
    served: Path, objaverse_config: Callable[..., Config], tmp_path: Path
):
    config = objaverse_config()
    run(config, tmp_path / "out")
    for path in (tmp_path / "cache").rglob("*.glb"):
        path.unlink()
    uid = Store(tmp_path / "out").require_plan().shards[0].uids[0]
    assert reproduce_view(config, tmp_path / "out", uid, 1).equal
    assert len(list((tmp_path / "cache").rglob("*.glb"))) == 1


def test_a_gated_dataset_is_told_before_anything_is_rendered(
    hub: Any,
    hub_double: SimpleNamespace,
    served: Path,
    objaverse_config: Callable[..., Config],
    tmp_path: Path,
):
    config = objaverse_config()
    plugins.load("mvcap.sources", "objaverse")
    hub.fail("HEAD", "lvis-annotations.json.gz", hub_double.gated())
    with pytest.raises(FetchError, match="accept its terms"):
        run(config, tmp_path / "out")
    assert not (tmp_path / "out" / "data").exists()


def test_a_hub_that_no_longer_holds_anything_does_not_harm_a_finished_build(
    hub: Any, served: Path, objaverse_config: Callable[..., Config], tmp_path: Path
):
    config = objaverse_config()
    run(config, tmp_path / "out")
    for path in served.rglob("*.glb"):
        path.unlink()
    for path in (tmp_path / "cache").rglob("*.glb"):
        path.unlink()
    asked = len(hub.requests)
    assert run(config, tmp_path / "out").done == 5
    assert len(hub.requests) == asked
