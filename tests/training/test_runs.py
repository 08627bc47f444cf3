"""Runs by their folder: begun, refused, gone on with; on a dataset of ours with clean pictures beside it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from mvcap.commits import CAPTION
from mvcap.errors import DatasetLockedError, EmptyInputError, InfrastructureError, OutputError, UsageError
from mvcap.locks import dataset_lock
from mvcap.storage import Store
from training.data import open_data
from training.estimating import describe, estimate_run
from training.recipes import read_config
from training.runs import create_encoder, load_run, run_training


@pytest.fixture(scope="session")
def clean_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    for index, name in enumerate(["chair", "green_cup", "chair"]):
        (folder / name).mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (index * 80, 90, 20)).save(folder / name / f"{index}.jpg")
    return folder


@pytest.fixture
def config(small_open_clip, clean_folder):
    def make(*more, recipe="ovt"):
        return read_config(
            recipe,
            [
                f"model.options.model={small_open_clip}",
                "data.batch=8",
                "clean.batch=2",
                f"clean.path={clean_folder}",
                "optimiser.steps=2",
                "run.loaders=0",
                "run.tensorboard=false",
                *more,
            ],
        )

    return make


def quiet(message):
    pass


def test_training_objects_alone_are_learnt_and_captions_share_their_numbers(config, small_dataset):
    data = open_data(config("clean.caption=a {}"), small_dataset)
    assert (len(data.counts), len(data.view_objects)) == (10, 40)
    assert not any("cup-0" in data.views.key(row) for row in range(40))
    clean = [data.captions[number] for number in data.clean_captions.tolist()]
    assert clean == ["a chair", "a chair", "a green cup"]
    views = [data.captions[number] for number in data.view_captions.tolist()]
    assert views == [
        data.views.table.captions[int(index)] for index in data.views.table.caption_index.tolist()
    ]
    assert len(set(data.captions)) == len(data.captions)
    row = next(row for row, caption in enumerate(views) if "chair" in caption)
    same = open_data(config("clean.caption=" + json.dumps(views[row].replace("chair", "{}"))), small_dataset)
    assert same.clean_captions.tolist()[:2] == [int(data.view_captions[row])] * 2
    assert (
        same.identity()
        != data.identity()
        == open_data(config("clean.caption=a {}"), small_dataset).identity()
    )


def test_other_pictures_with_the_same_captions_are_other_data(config, small_dataset, clean_folder, tmp_path):
    before = open_data(config(), small_dataset).identity()
    again = tmp_path / "rendered anew"
    shutil.copytree(small_dataset, again)
    store = Store(again)
    record = store.commit_path(CAPTION, store.require_plan().shards[0].index)
    content = json.loads(record.read_bytes())
    record.write_text(json.dumps(content | {"sha256": "0" * 64}))
    assert open_data(config(), again).identity() != before
    other_clean = tmp_path / "clean"
    shutil.copytree(clean_folder, other_clean)
    (other_clean / "chair" / "0.jpg").rename(other_clean / "chair" / "1.jpg")
    assert open_data(config(f"clean.path={other_clean}"), small_dataset).identity() != before


def test_a_dataset_that_is_not_finished_or_has_nothing_to_learn_is_refused(config, small_dataset, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small_dataset, copy)
    (copy / "objects.parquet").unlink()
    with pytest.raises(OutputError, match=r"objects\.parquet"):
        open_data(config(), copy)
    from training.pictures.dataset import DatasetPictures

    with pytest.raises(EmptyInputError):
        DatasetPictures(small_dataset, lambda split, uid: split == "nothing")


def test_a_run_is_begun_and_found_done(config, small_dataset, tmp_path):
    run = tmp_path / "run"
    summary = run_training(config(), small_dataset, run, say=quiet)
    assert summary["steps"] == 2
    assert np.isfinite(summary["loss"])
    kept = {path: path.read_bytes() for path in (run / "checkpoints").rglob("*.safetensors")}
    told = []
    log = (run / "log.jsonl").read_bytes()
    again = run_training(config("run.loaders=1", "run.tensorboard=true"), small_dataset, run, say=told.append)
    assert again == summary, "with the loss that it ended with"
    assert not (run / "tensorboard").exists()
    assert (run / "log.jsonl").read_bytes() == log
    assert "going on from step 2" in told
    assert {path: path.read_bytes() for path in (run / "checkpoints").rglob("*.safetensors")} == kept
    loaded, encoder, checkpoint = load_run(run)
    assert loaded.name == "ovt"
    assert encoder.identity() == create_encoder(loaded.model).identity()
    assert checkpoint.step == 2
    facts = json.loads((run / "run.json").read_text())
    assert facts["model"]["backend"] == "open_clip"


def test_another_run_in_the_folder_is_refused_with_the_difference(config, small_dataset, tmp_path):
    run = tmp_path / "run"
    run_training(config(), small_dataset, run, say=quiet)
    with pytest.raises(UsageError, match=r"optimiser\.steps: 2 -> 3"):
        run_training(config("optimiser.steps=3"), small_dataset, run, say=quiet)
    with pytest.raises(UsageError, match=r"(?s)clean\.caption.*data: '[0-9a-f]{16}' ->"):
        run_training(config("clean.caption=an {}"), small_dataset, run, say=quiet)
    with pytest.raises(UsageError, match="--resume auto"):
        run_training(config(), small_dataset, run, resume="never", say=quiet)
    with pytest.raises(OutputError, match="not a run"):
        load_run(tmp_path)


def test_data_that_are_not_there_are_told_before_the_model_is_looked_for(config, tmp_path):
    with pytest.raises(OutputError, match="not a finished dataset"):
        run_training(config("model.options.model=no/such"), tmp_path / "none", tmp_path / "run", say=quiet)


def test_a_run_has_a_folder_of_its_own(config, small_dataset):
    before = sorted(small_dataset.iterdir())
    with pytest.raises(UsageError, match="the same folder"):
        run_training(config(), small_dataset, small_dataset / ".." / small_dataset.name, say=quiet)
    assert sorted(small_dataset.iterdir()) == before


def test_a_full_gpu_is_told_with_the_settings_that_need_less(config, small_dataset, tmp_path, monkeypatch):
    def full(self, pixels):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation")

    monkeypatch.setattr("training.trainer.Trainer._autocast", full)
    with pytest.raises(InfrastructureError, match=r"2\.00 GiB\.\nA batch .*run\.micro_batch \(now 7\)"):
        run_training(config("run.micro_batch=7"), small_dataset, tmp_path / "run", say=quiet)


def test_two_drivers_do_not_share_a_folder(config, small_dataset, tmp_path):
    with dataset_lock(tmp_path / "_mvcap") as hold:
        hold.announce()
        with pytest.raises(DatasetLockedError, match="in use by process"):
            run_training(config(), small_dataset, tmp_path, say=quiet)


def test_small_copies_are_read_instead(config, small_dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "cache"))
    run_training(config("data.small_copies_px=32"), small_dataset, tmp_path / "run", say=quiet)
    assert list((tmp_path / "cache" / "small-copies").rglob("*.jpegs"))
    with pytest.raises(UsageError, match=r"data\.small_copies_px: 32 -> 48"):
        run_training(config("data.small_copies_px=48"), small_dataset, tmp_path / "run", say=quiet)
    assert not list((tmp_path / "cache" / "small-copies").glob("*48px*")), "refused before they are made"


@pytest.mark.parametrize(
    ("recipe", "more", "maximisations"),
    [("ovt", [], 2), ("ovt-official", ["anchors.every_steps=3"], 4), ("ovt", ["anchors.source=bank"], 1)],
)
def test_a_plan_counts_what_a_run_would_do(config, small_dataset, recipe, more, maximisations):
    configured = config("optimiser.steps=10", *more, recipe=recipe)
    plan = estimate_run(configured, open_data(configured, small_dataset))
    lora = 8 * (64 + 3 * 64)
    encoder = 2 * (4 * 12 * 12 + 4 * 12 + 2 * 12 * 2048 + 2048 + 12 + 4 * 12)
    assert plan["trainable_parameters"] == lora + encoder + 1
    assert (plan["views"], plan["objects"], plan["clean_pictures"]) == (40, 10, 3)
    assert (plan["steps"], plan["steps_per_epoch"], plan["pictures_per_step"]) == (10, 5, 10)
    assert plan["maximisations"] == maximisations
    memory = plan["memory_bytes"]
    assert memory["gradients_and_optimiser"] == 12 * plan["trainable_parameters"]
    tokens, width = 17, 64
    assert memory["activations"] > 10 * 4 * tokens * width * 8, "a block holds on to several times its input"
    assert memory["total"] == sum(value for name, value in memory.items() if name != "total")
    assert plan["time_s"]["steps"] > 0
    assert f"{plan['trainable_parameters']:,} trainable parameters" in describe(plan)


def test_a_plan_counts_tuned_texts_a_teacher_and_activations_that_are_computed_twice(config, small_dataset):
    def plan(*more):
        configured = config(*more)
        return estimate_run(configured, open_data(configured, small_dataset))

    plain, texts, taught = plan(), plan("tune.text=lora"), plan("loss.distillation.weight=1")
    assert plain["time_s"]["captions"] > 0 == texts["time_s"]["captions"]
    assert texts["memory_bytes"]["activations"] > 1.1 * plain["memory_bytes"]["activations"]
    added = taught["memory_bytes"]["weights"] - plain["memory_bytes"]["weights"]
    model = sum(p.numel() for p in create_encoder(config().model).network.parameters())
    assert added == 4 * model
    twice = plan("run.checkpoint_activations=true")
    assert twice["memory_bytes"]["activations"] < 0.7 * plain["memory_bytes"]["activations"]
