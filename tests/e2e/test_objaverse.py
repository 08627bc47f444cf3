"""Objaverse without a network: a hub on this machine serves furniture as Objaverse, and OpenShape's file."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from mvcap.records import SelectedObject
from mvcap.sources import sh3f

torch = pytest.importorskip("torch")

CATEGORIES = ("chair", "lamp", "table")


@pytest.fixture
def furniture() -> list[SelectedObject]:
    """One real object of each category."""
    if not sh3f.default_library().exists():
        pytest.skip("the demo's objects are not here: python -m mvcap.sources.sh3f.fetch")
    found = {
        item.category: item
        for item in sh3f.list_objects(sh3f.Options(selection="demo"))
        if isinstance(item, SelectedObject)
    }
    return [found[category] for category in CATEGORIES if category in found]


@pytest.fixture
def openshape(tmp_path: Path) -> Path:
    """Vectors of three categories, in as many dimensions as OpenShape has."""
    np.save(tmp_path / "vectors.npy", np.eye(3, 1280, dtype=np.float32))
    (tmp_path / "vectors.names.txt").write_text("\n".join(CATEGORIES))
    return tmp_path / "vectors.npy"


def publish(hub: Any, uids: dict[str, int | None]) -> None:
    """Publish an OpenShape file: int8 rows that point at a category, or between two where that is None."""
    rows = np.random.default_rng(0).integers(-3, 4, (len(uids), 1280), np.int8)
    for row, category in zip(rows, uids.values(), strict=True):
        row[:3] = 0
        row[[0, 1] if category is None else category] = 100
    path = hub.root / "datasets" / "OpenShape" / "openshape-objaverse-embeddings" / "objaverse.pt"
    path.parent.mkdir(parents=True)
    torch.save({"us": list(uids), "feats": torch.from_numpy(rows)}, path)


def options(tmp_path: Path, hub: Any) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")} | {
        "MVCAP_CACHE": str(tmp_path / "mvcap"),
        "HOME": str(tmp_path / "home"),
    }


def test_filter_finds_its_files_on_the_hub_and_writes_what_it_chose(
    mvcap: Any, hub: Any, openshape: Path, tmp_path: Path
):
    publish(hub, {"one": 0, "two": 2, "between": None})
    out = tmp_path / "chosen.parquet"
    arguments = ("filter", "--category-vectors", openshape, "--keep", 1, "--out", out)
    done = mvcap(*arguments, "--json", **options(tmp_path, hub))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["verdicts"] == {"selected": 1, "low_margin": 1, "beyond_keep": 1}
    assert "comparing 3 objects with 3 categories" in done.stderr
    (row,) = pq.read_table(out).to_pylist()
    assert row["category"] in CATEGORIES
    described = mvcap(*arguments, **options(tmp_path, hub))
    assert "1 selected" in described.stdout
    assert len(hub.seen("GET", "objaverse.pt")) == 1


def test_a_hub_that_refuses_the_embeddings_is_explained_on_one_screen(
    mvcap: Any, hub: Any, hub_double: SimpleNamespace, openshape: Path, tmp_path: Path
):
    publish(hub, {"one": 0})
    hub.fail("HEAD", "objaverse.pt", hub_double.gated())
    done = mvcap(
        "filter", "--category-vectors", openshape, "--out", tmp_path / "x.parquet", **options(tmp_path, hub)
    )
    assert done.returncode == 2
    assert f"{hub.url}/datasets/OpenShape/openshape-objaverse-embeddings is gated" in done.stderr
    assert "hf auth login" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_do_is_exit_2_and_nothing_fetched_is_exit_1(
    mvcap: Any, hub: Any, objaverse_double: SimpleNamespace, tmp_path: Path
):
    things = [objaverse_double.Thing("a", lvis=("chair",)), objaverse_double.Thing("b", lvis=("chair",))]
    objaverse_double.write(hub.root / "datasets" / objaverse_double.DATASET, things, models=False)
    fake = ("--set", "captions.backend=fake", "--set", "render.backend=fake", "--runner", "local")
    source = "sources=[{source: objaverse, options: {licenses: [%s]}}]"
    empty = mvcap(
        "build-all", "--out", tmp_path / "e", *fake, "--set", source % "cc0", **options(tmp_path, hub)
    )
    assert empty.returncode == 2
    assert "0 objects: nothing was found by objaverse licenses ['cc0']" in empty.stderr
    failed = mvcap(
        "build-all", "--out", tmp_path / "f", *fake, "--set", source % "by", **options(tmp_path, hub)
    )
    assert failed.returncode == 1
    assert "all 2 objects failed: 2 x hub" in failed.stderr


@pytest.mark.ray
def test_ray_workers_fetch_what_they_render(
    mvcap: Any, hub: Any, objaverse_double: SimpleNamespace, tmp_path: Path
):
    things = [objaverse_double.Thing(f"{n:032x}", lvis=("chair",)) for n in range(3)]
    objaverse_double.write(hub.root / "datasets" / objaverse_double.DATASET, things)
    fake = ("--set", "captions.backend=fake", "--set", "render.backend=fake", "--set", "render.views=2")
    arguments = ("build-all", "--out", tmp_path / "out", *fake, "--set", "sources=[{source: objaverse}]")
    done = mvcap(*arguments, **options(tmp_path, hub))
    assert done.returncode == 0, done.stderr
    assert len(hub.seen("GET", ".glb")) == 3


@pytest.mark.blender
def test_a_build_filters_fetches_and_renders_real_models_of_a_hub_that_fails(
    mvcap: Any,
    hub: Any,
    hub_double: SimpleNamespace,
    objaverse_double: SimpleNamespace,
    furniture: list[SelectedObject],
    openshape: Path,
    tmp_path: Path,
):
    """Of six selected objects three are rendered; one is gone, one forbidden, one no model at all."""
    thing = objaverse_double.Thing
    uids = [f"{n:032x}" for n in range(8)]
    things = [
        thing(uid, model=Path(item.record.asset), name=item.record.name, license="by-sa")
        for uid, item in zip(uids, furniture, strict=False)
    ]
    things += [thing(uid) for uid in uids[len(things) :]]
    root = objaverse_double.write(hub.root / "datasets" / objaverse_double.DATASET, things)
    glbs = root / "glbs" / "000-023"
    (glbs / f"{uids[3]}.glb").unlink()
    hub.fail("HEAD", f"{uids[4]}.glb", hub_double.refusing(403))
    (glbs / f"{uids[5]}.glb").write_bytes(b"glTF" + b"\0" * 100)
    hub.fail("HEAD", f"{uids[0]}.glb", hub_double.rate_limited(1))
    hub.fail("GET", f"{uids[1]}.glb", hub_double.dying_after(0.5))
    hub.fail("GET", f"{uids[2]}.glb", hub_double.corrupted())
    publish(hub, {uid: n % 3 if n < 6 else None for n, uid in enumerate(uids)})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"sources: [{{source: objaverse}}]\nfilter: {{category_vectors: {openshape}}}\n"
        "render: {views: 2, resolution: 64, preset: fast}\ncaptions: {backend: fake}\n"
        "run: {render_workers: 1}\n"
    )
    arguments = ("build-all", "--config", recipe, "--out", tmp_path / "out", "--runner", "local")
    done = mvcap(*arguments, **options(tmp_path, hub))
    assert done.returncode == 3, done.stderr
    rows = {row["source_id"]: row for row in pq.read_table(tmp_path / "out" / "objects.parquet").to_pylist()}
    assert set(rows) == set(uids[:6])
    assert [(rows[uid]["status"], rows[uid]["reason"]) for uid in uids[:6]] == [
        *[("done", None)] * 3,
        *[("failed", "hub")] * 2,
        ("failed", "bad_asset"),
    ]
    assert {row["license"] for row in rows.values() if row["status"] == "done"} == {"CC-BY-SA-4.0"}
    assert all(row["creator"] and row["source_url"] for row in rows.values())
    views = pq.read_table(tmp_path / "out" / "data").to_pylist()
    assert {row["source_id"] for row in views} == set(uids[:3])
    assert {row["license"] for row in views} == {"CC-BY-SA-4.0"}
    asked = len(hub.requests)
    again = mvcap(*arguments, **options(tmp_path, hub))
    assert again.returncode == 3
    assert len(hub.requests) == asked, "a finished build asks the hub for nothing"
