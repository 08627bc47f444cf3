"""Evaluation of a small CLIP on datasets, folders and tars, held against open_clip and clip_benchmark."""

import io
import json

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from clip_benchmark.datasets.builder import build_dataset
from clip_benchmark.metrics import zeroshot_classification
from PIL import Image

from mvcap.cli import app
from mvcap.errors import EmptyInputError, OutputError, TrainingDivergedError, UsageError
from mvcap.exports._chosen import Choice
from pipelines.exporting import export_dataset
from training.backends.open_clip import Options, create
from training.evaluation.evaluate import Pictures, evaluate, open_set, parse_sets
from training.evaluation.reporting import describe
from training.evaluation.zero_shot import classifier
from training.finished import open_tuned
from training.recipes import read_config
from training.runs import run_training
from training.student import Student


@pytest.fixture
def student(small_open_clip):
    return Student(create(Options(model=str(small_open_clip))), None).eval()


def of_train(folder):
    return Pictures("chairs", folder, split="train")


def run(student, wanted, **options):
    settings = {"templates": "plain", "batch": 7, "loaders": 0, **options}
    return evaluate(student, open_set(wanted), **settings)


def test_a_class_is_what_open_clip_makes_of_it(student):
    names = ["chair", "cup", "desk lamp"]
    ours = classifier(student, names, "openai", torch.device("cpu"))
    theirs = open_clip.build_zero_shot_classifier(
        student.encoder.network,
        lambda texts: student.encoder.tokenize(texts),
        names,
        open_clip.OPENAI_IMAGENET_TEMPLATES,
    )
    assert torch.allclose(ours, theirs.T, atol=1e-6)


@pytest.mark.parametrize("templates", ["plain", "openai"])
def test_top_1_agrees_with_clip_benchmark_to_the_last_digit(student, small_dataset, tmp_path, templates):
    export_dataset(
        small_dataset, "webdataset", tmp_path / "out", [f"templates={templates}"], choice=Choice("train")
    )
    model, _, preprocess = open_clip.create_model_and_transforms(
        f"local-dir:{student.encoder._options.model}"
    )
    pictures = build_dataset("wds/mine", root=str(tmp_path / "out"), transform=preprocess, split="train")
    theirs = zeroshot_classification.evaluate(
        model.eval(),
        torch.utils.data.DataLoader(pictures.batched(5), batch_size=None),
        open_clip.get_tokenizer(f"local-dir:{student.encoder._options.model}"),
        pictures.classes,
        pictures.templates,
        "cpu",
        amp=False,
    )
    of_dataset = run(student, of_train(small_dataset), templates=templates)
    of_tars = run(student, Pictures("tars", tmp_path / "out" / "train"), templates=templates)
    assert of_dataset.top1.mean == of_tars.top1.mean == theirs["acc1"]
    assert 0 < of_dataset.top1.mean < 1
    assert of_dataset.classes == of_tars.classes == ("chair", "cup", "lamp")
    assert (of_dataset.objects.objects, of_tars.objects) == (10, None)


def test_a_folder_of_the_same_pictures_has_the_same_accuracy(student, small_dataset, tmp_path):
    opened = open_set(of_train(small_dataset))
    for row in range(len(opened.labels)):
        path = tmp_path / "set" / opened.classes[opened.labels[row]] / f"{row:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(io.BytesIO(opened.pictures.read([row])[0].data)).save(path)
    of_folder, of_dataset = (
        run(student, Pictures("set", tmp_path / "set")),
        run(student, of_train(small_dataset)),
    )
    assert of_folder.top1.mean == of_dataset.top1.mean
    assert of_folder.angles is None


def test_margins_and_answers_agree_and_batches_do_not_matter(student, small_dataset):
    one, other = (
        run(student, of_train(small_dataset)),
        run(student, of_train(small_dataset), batch=40, loaders=1),
    )
    assert torch.equal(one.predictions.best, other.predictions.best)
    assert ((one.predictions.margin > 0).numpy() == one.right).all()
    assert one.predictions.best.shape == (40, 3), "there are three classes only"
    assert one.top5.mean == 1
    assert one.angles.pictures.sum() == 40


@pytest.fixture(scope="module")
def tuned(small_dataset, small_open_clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    settings = [
        f"model.options.model={small_open_clip}",
        "data.batch=8",
        "optimiser.steps=6",
        "optimiser.learning_rate=0.02",
        "optimiser.warmup_steps=0",
        "tune.image=full",
        "run.loaders=0",
        "run.tensorboard=false",
        "anchors.source=batch",
    ]
    run_training(read_config("ovt", settings), small_dataset, folder, say=lambda message: None)
    return folder


def test_the_command_compares_with_the_pretrained_model_and_writes_everything(
    tuned, small_dataset, tmp_path, capsys
):
    out = tmp_path / "out"
    command = ["eval", str(tuned), "--data", f"chairs={small_dataset}", "--split", "train", "--out", str(out)]
    app([*command, "--loaders", "0", "--templates", "plain", "--json"], standalone_mode=False)
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "results.json").read_text())
    told = report["sets"][0]
    rows = pq.read_table(out / "chairs.parquet").to_pylist()
    assert len(rows) == told["pictures"] == 40
    assert np.mean([row["correct"] for row in rows]) == told["top1"]["mean"]
    assert all((row["predicted"] == row["category"]) == row["correct"] for row in rows)
    assert {"uid", "view_index", "margin", "azimuth_deg", "elevation_deg"} <= set(rows[0])
    assert told["difference"]["mean"] == pytest.approx(told["top1"]["mean"] - told["base"]["top1"]["mean"])
    assert told["retention"] == pytest.approx(told["top1"]["mean"] / told["base"]["top1"]["mean"])
    assert Image.open(out / "chairs-angles.png").width > 300
    text = describe(report)
    assert "       3       40" in text, "the number of classes stands beside the accuracy"
    assert "10 objects with several views" in text


def test_a_suite_averages_the_sets_whose_places_are_told(tuned, small_dataset, tmp_path, capsys):
    suite = {"sets": {"chairs": {"group": "odd views", "split": "train"}, "more": {"group": "odd views"}}}
    (tmp_path / "suite.yaml").write_text(json.dumps(suite))
    command = [
        "eval",
        str(tuned),
        "--suite",
        str(tmp_path / "suite.yaml"),
        "--data",
        f"chairs={small_dataset}",
    ]
    app([*command, "--out", str(tmp_path / "out"), "--loaders", "0", "--no-base"], standalone_mode=False)
    (group,) = json.loads((tmp_path / "out" / "results.json").read_text())["groups"]
    assert (group["sets"], group["missing"]) == (["chairs"], ["more"])
    assert (
        f"odd views: {100 * group['top1']:.1f}, the mean of chairs; without more" in capsys.readouterr().out
    )


def test_the_model_of_a_recipe_is_evaluated_without_a_run(small_open_clip, small_dataset, tmp_path, capsys):
    command = ["eval", "--config", "ovt", "--set", f"model.options.model={small_open_clip}", "--loaders", "0"]
    app(
        [*command, "--data", str(small_dataset), "--out", str(tmp_path / "out"), "--json"],
        standalone_mode=False,
    )
    told = json.loads(capsys.readouterr().out)["sets"][0]
    assert (told["classes"], told["pictures"], told["objects"]) == (2, 8, 2), "the split `test`"
    assert "base" not in told


def test_no_interpolation_towards_the_tuned_weights_is_the_pretrained_model(
    tuned, small_dataset, tmp_path, capsys
):
    command = ["eval", str(tuned), "--interpolate", "0", "--data", str(small_dataset), "--split", "train"]
    app([*command, "--out", str(tmp_path), "--loaders", "0", "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)["sets"][0]
    assert told["name"] == f"{small_dataset.name}-train"
    assert told["top1"] == told["base"]["top1"]
    assert told["difference"] == {"mean": 0, "low": 0, "high": 0}


@pytest.mark.parametrize("share", ["1.5", "-0.1", "nan"])
def test_what_is_no_share_is_refused(tuned, small_dataset, share):
    command = ["eval", "--data", str(small_dataset), "--interpolate", share]
    with pytest.raises(UsageError, match=r"outside \[0, 1\]"):
        app([*command[:1], str(tuned), *command[1:]], standalone_mode=False)
    with pytest.raises(UsageError, match=r"outside \[0, 1\]"):
        open_tuned(tuned, interpolate=float(share))
    with pytest.raises(UsageError, match="name a run"):
        app([*command[:-1], "0.5", "--config", "demo"], standalone_mode=False)


def test_a_model_whose_weights_are_broken_is_told_and_not_counted(student, small_dataset):
    with torch.no_grad():
        next(iter(student.encoder.image_tower.parameters)).fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match=r"folder-chair-\d-obj-\w+#0 are not finite"):
        run(student, of_train(small_dataset))


def test_what_cannot_be_evaluated_is_explained(tuned, small_dataset, tmp_path):
    with pytest.raises(UsageError, match=r"--config RECIPE"):
        app(["eval", "--data", str(small_dataset)], standalone_mode=False)
    with pytest.raises(OutputError, match="not a run"):
        app(["eval", str(tmp_path), "--data", str(small_dataset)], standalone_mode=False)
    with pytest.raises(EmptyInputError, match=r"0 views in the split none; --split names .*: test, train"):
        app(["eval", str(tuned), "--data", str(small_dataset), "--split", "none"], standalone_mode=False)
    (tmp_path / "a file").touch()
    with pytest.raises(OutputError, match="cannot write to"):
        app(["eval", str(tuned), "--out", str(tmp_path / "a file" / "out")], standalone_mode=False)
    with pytest.raises(OutputError, match="not a run"):
        app(["eval", str(tmp_path / "no such run")], standalone_mode=False)
    assert not (tmp_path / "no such run").exists()
    with pytest.raises(EmptyInputError, match="--data NAME=DIR"):
        app(["eval", str(tuned), "--suite", "ovt"], standalone_mode=False)
    with pytest.raises(UsageError, match="NAME=FOLDER"):
        parse_sets(["a/val", "b/val"], "test", None)
    (tmp_path / "set" / "chair").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "set" / "chair" / "a.png")
    with pytest.raises(UsageError, match=r"single class, 'chair'; .* --data"):
        open_set(Pictures("set", tmp_path / "set"))
    with pytest.raises(UsageError, match=r"is a file; give --data"):
        open_set(Pictures("set", tmp_path / "a file"))
