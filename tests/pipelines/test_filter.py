"""The filter from files to files, on both runners, as a command's work and as a build's first stage."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mvcap import plugins, recipes
from mvcap.config import Config, FilterConfig
from mvcap.errors import EmbeddingsError, EmptyInputError, NothingSurvivedError, UsageError
from mvcap.selected import read_selection
from mvcap.storage import Store
from pipelines import filter as filtering_module
from pipelines.build_all import build
from pipelines.filter_inputs import find_categories
from pipelines.filtering import filter_to_files
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request

torch = pytest.importorskip("torch")

NAMES = ("chair", "table", "bow")
FEATURES = {
    "a": (90, 10, 0),  # a chair
    "b": (60, 55, 0),  # chair or table
    "c": (0, 80, 5),  # a table
    "d": (0, 0, 0),
    "e": (3, 1, 50),  # a bow
    "f": (70, 20, 0),  # a chair, less clearly
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Options that name embeddings of six objects and vectors of three categories."""
    features = torch.tensor(list(FEATURES.values()), dtype=torch.int8)
    torch.save({"us": list(FEATURES), "feats": features}, tmp_path / "objaverse.pt")
    np.save(tmp_path / "vectors.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "vectors.names.txt").write_text("\n".join(NAMES))
    return {"file": str(tmp_path / "objaverse.pt"), "category_vectors": str(tmp_path / "vectors.npy")}


def configured(section: dict[str, Any], **more: Any) -> Config:
    return recipes.build_config({"filter": section, **more}, plugins.options_model, captions=False)


def run(config: Config, out: Path) -> dict[str, Any]:
    return filter_to_files(config, out, LocalRunner(), lambda _: None)


def test_the_selected_and_the_others_are_written_with_what_decided(files: dict[str, str], tmp_path: Path):
    out = tmp_path / "chosen.parquet"
    summary = run(configured({**files, "min_margin": 0.1, "keep": 3}), out)
    assert summary["verdicts"] == {"selected": 3, "bad_embedding": 1, "low_margin": 1, "beyond_keep": 1}
    rows = {row.source_id: row for row in read_selection(out)}
    assert {each: row.category for each, row in rows.items()} == {"a": "chair", "c": "table", "e": "bow"}
    assert rows["a"].second_category == "table"
    assert rows["a"].similarity == pytest.approx(90 / np.hypot(90, 10), abs=1e-4)
    assert rows["a"].margin == pytest.approx(80 / np.hypot(90, 10), abs=1e-4)
    left_out = pq.read_table(tmp_path / "chosen.left-out.parquet").to_pylist()
    assert {row["source_id"]: row["reason"] for row in left_out} == {
        "b": "low_margin",
        "d": "bad_embedding",
        "f": "beyond_keep",
    }
    assert json.loads((tmp_path / "chosen.json").read_text()) == summary
    assert summary["categories"][0] == {"category": "chair", "selected": 1, "nearest": 3}
    assert summary["min_similarity_found"] == pytest.approx(rows["a"].similarity)


def test_chunks_do_not_change_what_is_selected(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run(configured(files), tmp_path / "one.parquet")
    monkeypatch.setattr(filtering_module, "ROWS_PER_CHUNK", 2)
    monkeypatch.setattr(filtering_module, "ROWS_PER_PRODUCT", 1)
    run(configured(files, run={"filter_workers": 3}), tmp_path / "many.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()


@pytest.mark.ray
def test_ray_selects_the_same(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from pipelines.runners.ray import RayRunner

    monkeypatch.setattr(filtering_module, "ROWS_PER_CHUNK", 2)
    config = configured(files)
    run(config, tmp_path / "local.parquet")
    filter_to_files(config, tmp_path / "ray.parquet", RayRunner(), lambda _: None)
    assert (tmp_path / "local.parquet").read_bytes() == (tmp_path / "ray.parquet").read_bytes()
    (tmp_path / "gone.pt").write_bytes(b"")
    with pytest.raises(EmbeddingsError, match=r"gone\.pt is damaged"):
        filter_to_files(
            configured({**files, "file": str(tmp_path / "gone.pt")}),
            tmp_path / "x.parquet",
            RayRunner(),
            print,
        )


def test_a_repeated_object_is_counted_once_and_told(files: dict[str, str], tmp_path: Path):
    features = torch.tensor([FEATURES["a"], FEATURES["c"], FEATURES["a"]], dtype=torch.int8)
    torch.save({"us": ["a", "c", "a"], "feats": features}, files["file"])
    summary = run(configured(files), tmp_path / "chosen.parquet")
    assert summary["verdicts"] == {"selected": 2, "duplicate": 1}
    assert summary["objects"] == 3
    (row,) = pq.read_table(tmp_path / "chosen.left-out.parquet").to_pylist()
    assert (row["source_id"], row["reason"]) == ("a", "duplicate")


def test_a_list_of_categories_is_cleaned_and_picks_vectors(files: dict[str, str], tmp_path: Path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfchair\r\n\r\nbow_(weapon)\r\nchair\r\n")
    summary = run(configured({**files, "categories": str(tmp_path / "list.txt")}), tmp_path / "o.parquet")
    assert [row["category"] for row in summary["categories"]] == ["chair", "bow"]
    assert summary["repeated_categories"] == 1


@pytest.mark.parametrize("name", ["chosen.json", "objaverse.pt", "."])
def test_nothing_but_a_parquet_file_is_written(files: dict[str, str], tmp_path: Path, name: str):
    before = (tmp_path / "objaverse.pt").read_bytes()
    with pytest.raises(UsageError, match="must be a Parquet file"):
        run(configured(files), tmp_path / name)
    assert (tmp_path / "objaverse.pt").read_bytes() == before


def test_sources_that_embeddings_of_objaverse_cannot_serve_are_refused_before_any_work(
    files: dict[str, str], models, tmp_path: Path
):
    source = {"source": "folder", "options": {"path": str(models("a"))}}
    config = configured({**files, "file": str(tmp_path / "absent.pt")}, sources=[source])
    with pytest.raises(UsageError, match="needs the source objaverse"):
        build(config, Request(tmp_path / "out"), LocalRunner(), lambda _: None)


@pytest.mark.parametrize("content", ["chair\n???\n", ""])
def test_a_list_without_words_is_refused(files: dict[str, str], tmp_path: Path, content: str):
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(EmbeddingsError, match=r"'\?\?\?', no word|list\.txt is empty"):
        run(configured({**files, "categories": str(tmp_path / "list.txt")}), tmp_path / "o.parquet")


def test_vectors_of_another_dimension_are_refused_with_the_encoder_that_fits(
    files: dict[str, str], tmp_path: Path
):
    features = torch.zeros(6, 1280, dtype=torch.int8)
    torch.save({"us": list(FEATURES), "feats": features}, files["file"])
    with pytest.raises(EmbeddingsError, match="take vectors of ViT-bigG-14"):
        run(configured(files), tmp_path / "o.parquet")


def test_no_object_and_no_survivor_are_errors(files: dict[str, str], tmp_path: Path):
    with pytest.raises(NothingSurvivedError, match="none of 6 objects: 1 x bad_embedding, 5 x low_margin"):
        run(configured({**files, "min_margin": 1.9}), tmp_path / "o.parquet")
    torch.save({"us": [], "feats": torch.zeros(0, 3, dtype=torch.int8)}, files["file"])
    with pytest.raises(EmptyInputError, match="0 objects"):
        run(configured(files), tmp_path / "o.parquet")


def test_imagenet_is_cleaned_and_its_meanings_kept():
    config = configured({"categories": "imagenet"})
    found = find_categories(config, config.filter or FilterConfig())
    assert found.names is not None
    assert (len(found.names), found.repeated) == (998, 2)
    assert found.names[:2] == ("tench", "goldfish")
    assert dict(zip(found.names, found.meanings, strict=True))["ram"] == "ram (adult male sheep)"


# --- with Objaverse from a hub ---------------------------------------------------------------------


@pytest.fixture
def objaverse(
    hub: Any, objaverse_double: SimpleNamespace, files: dict[str, str], tmp_path: Path
) -> dict[str, Any]:
    """A section `sources` over a hub that serves objects of the ids in `FEATURES`, and OpenShape's file."""
    thing = objaverse_double.Thing
    names = {"a": "my chairs", "b": "Esstisch", "c": "thing", "e": "longbow"}
    things = [thing(uid, name=names.get(uid, ""), tags=("Table",) if uid == "b" else ()) for uid in FEATURES]
    things += [
        thing(f"lvis-{name}", lvis=(label,)) for name, label in (("x", "chair"), ("y", "bow_(weapon)"))
    ]
    objaverse_double.write(hub.root / "datasets" / objaverse_double.DATASET, things)
    published = hub.root / "datasets" / "OpenShape" / "openshape-objaverse-embeddings" / "objaverse.pt"
    published.parent.mkdir(parents=True)
    published.write_bytes(Path(files["file"]).read_bytes())
    return {"sources": [{"source": "objaverse", "options": {"path": str(tmp_path / "cache")}}]}


def test_own_names_and_tags_agree_or_not(objaverse: dict[str, Any], files: dict[str, str], tmp_path: Path):
    config = configured({**files, "min_margin": 0, "agreement": "required"}, **objaverse)
    summary = run(config, tmp_path / "o.parquet")
    assert summary["verdicts"] == {"selected": 1, "bad_embedding": 1, "no_agreement": 4}
    assert [row.source_id for row in read_selection(tmp_path / "o.parquet")] == ["a"]


def test_lvis_and_the_published_file_come_from_the_hub(
    hub: Any,
    objaverse: dict[str, Any],
    files: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "mvcap-cache"))
    section = {"category_vectors": files["category_vectors"], "categories": "lvis"}
    summary = run(configured(section, **objaverse), tmp_path / "o.parquet")
    assert [row["category"] for row in summary["categories"]] == ["bow", "chair"]
    assert (tmp_path / "mvcap-cache" / "openshape" / "objaverse.pt").exists()
    assert len(hub.seen("GET", "objaverse.pt")) == 1


def build_config(section: dict[str, Any], sources: dict[str, Any]) -> Config:
    return configured(
        section,
        **sources,
        plan={"objects_per_shard": 2, "splits": {"train": 1.0}},
        render={"backend": "fake", "views": 2, "resolution": 32},
        run={"render_workers": 1},
    )


def built(config: Config, out: Path) -> Any:
    return build(config, Request(out, caption=False), LocalRunner(), lambda _: None)


def test_a_build_filters_first_and_renders_what_is_selected(
    objaverse: dict[str, Any], files: dict[str, str], tmp_path: Path
):
    config = build_config({**files, "min_margin": 0.1}, objaverse)
    outcome = built(config, tmp_path / "out")
    assert (outcome.done, outcome.views) == (4, 8)
    objects = {item.record.source_id: item for item in Store(tmp_path / "out").read_objects()}
    assert {each: item.category for each, item in objects.items()} == {
        **{"a": "chair", "c": "table", "e": "bow", "f": "chair"}
    }
    assert objects["a"].similarity == pytest.approx(90 / np.hypot(90, 10), abs=1e-4)


def test_a_finished_build_filters_no_second_time_and_writes_nothing(
    objaverse: dict[str, Any], files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = build_config({**files, "min_margin": 0.1}, objaverse)
    built(config, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    monkeypatch.setattr("pipelines.filter.read_embeddings", None)  # not called any more
    assert built(config, tmp_path / "out").done == 4
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert {path: at for path, at in after.items() if path.is_file() and "lock" not in path.name} == {
        path: at for path, at in before.items() if path.is_file() and "lock" not in path.name
    }


def test_changed_embeddings_are_noticed(objaverse: dict[str, Any], files: dict[str, str], tmp_path: Path):
    config = build_config({**files, "min_margin": 0.1}, objaverse)
    built(config, tmp_path / "out")
    features = torch.tensor([*list(FEATURES.values())[:-1], (0, 0, 99)], dtype=torch.int8)
    torch.save({"us": list(FEATURES), "feats": features}, files["file"])
    with pytest.raises(UsageError, match="f: category: 'chair' -> 'bow'"):
        built(config, tmp_path / "out")


def test_a_filter_of_published_embeddings_needs_objaverse(
    files: dict[str, str], models: Callable[..., Path], tmp_path: Path
):
    sources = {"sources": [{"source": "folder", "options": {"path": str(models("a"))}}]}
    with pytest.raises(UsageError, match=r"set filter\.embeddings=clip_views"):
        built(build_config(files, sources), tmp_path / "out")


# --- one's own models ------------------------------------------------------------------------------


@pytest.fixture
def own(
    small_open_clip: Path, models: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Config:
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "mvcap-cache"))
    (tmp_path / "list.txt").write_text("chair\ntable\nlamp\n")
    section = {
        "embeddings": "clip_views",
        "model": str(small_open_clip),
        "pretrained": None,
        "categories": str(tmp_path / "list.txt"),
        "templates": "plain",
        "min_similarity": -1,
        "min_margin": 0,
        "views": 2,
        "resolution": 32,
    }
    folder = models("one/a", "one/b", "two/c")
    return build_config(section, {"sources": [{"source": "folder", "options": {"path": str(folder)}}]})


def test_own_models_get_categories_by_their_views(own: Config, tmp_path: Path):
    assert built(own, tmp_path / "out").done == 3
    objects = Store(tmp_path / "out").read_objects()
    assert {item.category for item in objects} <= {"chair", "table", "lamp"}
    assert all(item.similarity is not None and -1 <= item.similarity <= 1 for item in objects)


def test_pictures_beside_the_models_are_left_as_they_are_listed(own: Config, tmp_path: Path):
    (tmp_path / "photos" / "stool").mkdir(parents=True)
    Image.new("RGB", (32, 32), (9, 90, 200)).save(tmp_path / "photos" / "stool" / "p.png")
    photos = {"source": "images", "options": {"path": str(tmp_path / "photos")}}
    settings = own.model_dump(mode="json")
    config = recipes.build_config(
        settings | {"sources": [*settings["sources"], photos]}, plugins.options_model, captions=False
    )
    assert built(config, tmp_path / "out").done == 4
    categories = {item.record.source: item.category for item in Store(tmp_path / "out").read_objects()}
    assert categories["images"] == "stool"
    alone = recipes.build_config(settings | {"sources": [photos]}, plugins.options_model, captions=False)
    with pytest.raises(UsageError, match="the sources give pictures only"):
        built(alone, tmp_path / "other")


def test_embedded_chunks_are_not_embedded_again(own: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    built(own, tmp_path / "out")
    monkeypatch.setattr("pipelines.clip_views.Embedder.__call__", None)
    assert built(own, tmp_path / "out").done == 3


def test_a_model_that_cannot_be_rendered_has_a_bad_embedding(own: Config, tmp_path: Path):
    broken = own.render.options.model_copy(update={"fail": {"one/b": "crash"}})  # type: ignore[union-attr]
    config = own.model_copy(update={"render": own.render.model_copy(update={"options": broken})})
    assert built(config, tmp_path / "out").done == 2
    (file,) = (tmp_path / "out" / "_mvcap" / "filter").glob("*.left-out.parquet")
    (row,) = pq.read_table(file).to_pylist()
    assert (row["source_id"].split("-")[1:3], row["reason"]) == (["one", "b"], "bad_embedding")
