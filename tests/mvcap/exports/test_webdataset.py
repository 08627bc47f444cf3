"""Tars as the `webdataset` package, and classes as clip_benchmark's own loader and evaluation read them."""

import io
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from mvcap.errors import ConfigError
from pipelines.build_all import build
from pipelines.exporting import export_dataset
from pipelines.runners.local import LocalRunner
from pipelines.todo import Request


def rows(dataset: Path) -> list[dict]:
    return [row for path in sorted((dataset / "data").glob("*")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def dataset(models, fake_config, tmp_path):
    def make(*names: str, caption: bool = True, **changes: str) -> Path:
        config = fake_config(models(*names), **changes)
        build(config, Request(tmp_path / "dataset", caption=caption), LocalRunner(), lambda _: None)
        return tmp_path / "dataset"

    return make


def test_webdataset_reads_every_view_with_class_caption_and_columns(dataset, tmp_path):
    root, out = dataset("chair/a", "cup/b", "lamp/c"), tmp_path / "out"
    export_dataset(root, "webdataset", out, ["tar_views=4"])
    assert sorted(path.name for path in (out / "train").iterdir()) == [
        "0.tar",
        "1.tar",
        "2.tar",
        "nshards.txt",
    ]
    assert (out / "train/nshards.txt").read_text() == "3\n"
    assert (out / "classnames.txt").read_text() == "chair\ncup\nlamp\n"
    tars = [str(path) for path in sorted((out / "train").glob("*.tar"))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [
        f"{row['uid']}_{row['view_index']:03d}" for row in rows(root)
    ]
    for sample, row in zip(samples, rows(root), strict=True):
        assert ["chair", "cup", "lamp"][sample["cls"]] == row["category"]
        assert sample["txt"] == row["caption"]
        assert (
            sample["jpg"].tobytes() == Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB").tobytes()
        )
        pictures = ("image", "mask", "depth", "normals")
        assert sample["json"] == {name: value for name, value in row.items() if name not in pictures}


def test_views_without_captions_have_no_text_and_extras_are_members(dataset, tmp_path):
    root = dataset("cup/b", caption=False, render__extras="[mask, depth]", render__image__format="png")
    export_dataset(root, "webdataset", tmp_path / "out")
    with tarfile.open(tmp_path / "out/train/0.tar") as tar:
        names = [name.partition(".")[2] for name in tar.getnames()]
        stored = [row["mask"]["bytes"] for row in rows(root)]
        assert [
            tar.extractfile(name).read() for name in tar.getnames() if name.endswith("mask.png")
        ] == stored
    assert names == ["png", "cls", "json", "mask.png", "depth.png"] * 3


def test_a_tar_ends_once_it_is_full_and_the_bytes_are_the_same_each_time(dataset, tmp_path):
    root = dataset("chair/a", "cup/b")
    for name in ("one", "two"):
        export_dataset(root, "webdataset", tmp_path / name, ["tar_bytes=1"])
    tars = {path.name: path.read_bytes() for path in (tmp_path / "one/train").iterdir()}
    assert len(tars) == 6 + 1
    assert tars == {path.name: path.read_bytes() for path in (tmp_path / "two/train").iterdir()}


def test_templates_are_the_eighty_where_they_are_asked_for(dataset, tmp_path):
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    root = dataset("cup/b")
    export_dataset(root, "webdataset", tmp_path / "out", ["templates=openai"])
    templates = (tmp_path / "out/zeroshot_classification_templates.txt").read_text().splitlines()
    assert [each.format(c="cup") for each in templates] == [each("cup") for each in OPENAI_IMAGENET_TEMPLATES]
    with pytest.raises(ConfigError, match=r"templates: .*'plain'.*\(got 'none'\)"):
        export_dataset(root, "webdataset", tmp_path / "none", ["templates=none"])
    with pytest.raises(
        ConfigError, match=r"did you mean 'tar_views'\? \(valid: tar_bytes, tar_views, templates\)"
    ):
        export_dataset(root, "webdataset", tmp_path / "none", ["tar_veiws=3"])


def test_clip_benchmark_loads_it_and_finds_the_accuracy_that_the_rows_have(
    dataset, small_open_clip, tmp_path
):
    import open_clip
    import torch
    from clip_benchmark.datasets.builder import build_dataset
    from clip_benchmark.metrics import zeroshot_classification

    names = ("chair/a", "chair/b", "cup/c", "cup/d", "lamp/e", "sofa/f", "table/g")
    root, out = dataset(*names, plan__splits="{test: 1.0}"), tmp_path / "out"
    export_dataset(root, "webdataset", out, ["tar_views=5"])
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{small_open_clip}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{small_open_clip}")
    pictures = build_dataset("wds/mine", root=str(out), transform=preprocess, split="test")
    assert pictures.templates == ["a photo of a {c}."]
    found = zeroshot_classification.evaluate(
        model.eval(),
        torch.utils.data.DataLoader(pictures.batched(4), batch_size=None),
        tokenizer,
        pictures.classes,
        pictures.templates,
        "cpu",
        amp=False,
    )

    classes = sorted({row["category"] for row in rows(root)})
    with torch.no_grad():
        texts = model.encode_text(tokenizer([f"a photo of a {name}." for name in classes]), normalize=True)
        hits = []
        for row in rows(root):
            picture = preprocess(Image.open(io.BytesIO(row["image"]["bytes"])))
            similarity = model.encode_image(picture[None], normalize=True) @ texts.T  # (1, C)
            hits.append(classes[int(similarity.argmax())] == row["category"])
    assert 0 < sum(hits) < len(hits)
    assert found["acc1"] == sum(hits) / len(hits)
