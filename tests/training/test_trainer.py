"""The loop on made-up pictures: it learns, goes on to the last bit, and stops at what is not finite."""

import json
import os
import shutil
import signal

import pytest
import torch
from open_clip.transformer import PatchDropout

from mvcap.errors import TrainingDivergedError, UnknownNameError, UsageError
from mvcap.signals import SIGNALS, Stopped, listen
from training.assembling import make_batches
from training.checkpoints import latest_checkpoint, trained_tensors
from training.data import join
from training.distributed import World
from training.recipes import build_config
from training.runs import create_encoder
from training.trainer import Trainer

COUNTS = [1, 9, 4, 2, 7, 3, 6, 4]  # 36 views


@pytest.fixture
def begin(small_open_clip, make_pictures, tmp_path):
    """Make a trainer of a small recipe, changed by dotted settings, over fresh pictures."""

    def make(run="run", *, captioned=None, clean=True, **changes):
        settings = {
            "model": {"backend": "open_clip", "options": {"model": str(small_open_clip)}},
            "tune": {"image": "lora", "rank": 2},
            "data": {"batch": 12, "views_per_object": 3},
            "clean": {"batch": 4},
            "anchors": {"outliers_per_object": 2},
            "optimiser": {"steps": 6, "learning_rate": 0.01, "warmup_steps": 2},
            "run": {"loaders": 0, "log_every": 1, "checkpoint_every": 3, "tensorboard": False},
        }
        for path, value in changes.items():
            section = settings
            *parents, name = path.split("__")
            for parent in parents:
                section = section.setdefault(parent, {})
            section[name] = value
        config = build_config(settings)
        data = join(make_pictures(COUNTS, captioned), make_pictures([1] * 5) if clean else None)
        encoder = create_encoder(config.model)
        return Trainer(
            config, encoder, data, tmp_path / run, World(), facts={}, say=lambda message: None
        ), tmp_path / run

    return make


@pytest.fixture(scope="session")
def dropping_clip(small_clip, tmp_path_factory):
    """The small CLIP, with dropout in the attention of both towers."""
    folder = tmp_path_factory.mktemp("dropping") / "clip"
    shutil.copytree(small_clip, folder)
    config = json.loads((folder / "config.json").read_text())
    for tower in ("text_config", "vision_config"):
        config[tower]["attention_dropout"] = 0.3
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def log(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def weights(trainer):
    return {name: value.clone() for name, value in trained_tensors(trainer.student).items()}


def test_the_loss_falls_and_is_told_in_parts(begin):
    trainer, run = begin(
        model={"options": {"model": "untrained"}},
        tune__image="full",
        optimiser={"steps": 20, "learning_rate": 0.001, "warmup_steps": 2},
    )
    summary = trainer.train(None)
    lines = log(run)
    assert [line["step"] for line in lines] == list(range(1, 21))
    first, last = (sum(line["image_text"] for line in part) for part in (lines[:4], lines[-4:]))
    assert last < 0.8 * first
    assert set(lines[0]) >= {"loss", "consistency", "learning_rate", "inverse_temperature", "gradient_norm"}
    line = lines[7]
    assert line["loss"] == pytest.approx(line["image_text"] + line["consistency"], abs=1e-4)
    assert summary.figures["loss"] == lines[-1]["loss"]
    assert any("outliers_kept" in line for line in lines), "anchors were made anew"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"anchors__source": "bank", "anchors__every_steps": 2},
        {"anchors__source": "batch"},
        {"tune__image": "full", "tune__text": "lora", "loss__distillation": {"weight": 0.5}},
        {"viformer": None, "run__micro_batch": 5, "anchors__augmented": True, "data__rotation_deg": 30},
        {"viformer": {"attend": "views"}, "loss__variance_floor": {"weight": 0.1}},
        {"viformer": {"attend": "patches"}, "run__micro_batch": 7},
    ],
)
def test_a_stopped_run_goes_on_as_if_it_had_not_been(begin, changes):
    whole, _ = begin("whole", **changes)
    whole.train(None)
    stopped, run = begin("stopped", **changes)
    _stop_after(stopped, 3)
    resumed, _ = begin("stopped", **changes)
    checkpoint = latest_checkpoint(run)
    assert checkpoint.step == 3
    resumed.train(checkpoint)
    expected = weights(whole)
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    timeless = [
        [{k: v for k, v in line.items() if not k.endswith("_s")} for line in log(folder)]
        for folder in (run, run.parent / "whole")
    ]
    assert timeless[0] == timeless[1]


def test_a_stopped_run_drops_the_same_patches_as_if_it_had_not_been(begin):
    def dropping(run):
        trainer, folder = begin(run, tune__image="full")
        trainer.student.network.visual.patch_dropout = PatchDropout(0.5)
        return trainer, folder

    whole, _ = dropping("whole")
    whole.train(None)
    stopped, run = dropping("stopped")
    _stop_after(stopped, 3)
    resumed, _ = dropping("stopped")
    resumed.train(latest_checkpoint(run))
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())


@pytest.mark.parametrize("captions", ["frozen", "lora"])
def test_a_model_with_dropout_goes_on_to_the_last_bit_as_well(begin, dropping_clip, captions):
    changes = {
        "model": {"backend": "hf_clip", "options": {"model": str(dropping_clip)}},
        "tune__text": captions,
    }
    whole, _ = begin("whole", **changes)
    whole.train(None)
    stopped, run = begin("stopped", **changes)
    _stop_after(stopped, 3)
    torch.rand(7)  # what another process has drawn is of no account
    resumed, _ = begin("stopped", **changes)
    resumed.train(latest_checkpoint(run))
    expected = weights(whole)
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    assert not torch.equal(_trained_pass(whole), _trained_pass(whole)), "this model does drop"


def _trained_pass(trainer):
    trainer.student.train()
    with torch.no_grad():
        return trainer.student.encode_pictures(trainer._batches[0].pixels).features


@pytest.fixture
def listening(monkeypatch):
    """Answer to signals as the command line does, but for its deadline."""
    monkeypatch.setattr(signal, "alarm", lambda seconds: None)
    kept = {each: signal.getsignal(each) for each in (*SIGNALS, signal.SIGALRM)}
    listen()
    yield
    for each, handler in kept.items():
        signal.signal(each, handler)


@pytest.mark.parametrize(("moment", "saved"), [("step", 4), ("anchors", 3)])
def test_a_signal_ends_it_with_a_checkpoint_of_the_step(begin, listening, moment, saved):
    """The batches of an epoch are three: anchors are made before the first step and before the fourth."""
    changes = {"run__checkpoint_every": 100}
    whole, _ = begin("whole", **changes)
    whole.train(None)
    asked, run = begin("asked", **changes)
    steps = []

    def step(number, batch):
        steps.append(number)
        if moment == "step" and number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return took(number, batch)

    def encode(pixels):
        if moment == "anchors" and len(steps) == 3 and not torch.is_grad_enabled():
            os.kill(os.getpid(), signal.SIGTERM)
        return encoded(pixels)

    took, asked._step = asked._step, step
    encoded, asked._encode = asked._encode, encode
    with pytest.raises(Stopped) as stopped:
        asked.train(None)
    assert stopped.value.number == signal.SIGTERM
    checkpoint = latest_checkpoint(run)
    assert (checkpoint.step, len(steps)) == (saved, saved)
    resumed, _ = begin("asked", **changes)
    resumed.train(checkpoint)
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())


def _stop_after(trainer, step):
    """Train until a step is saved."""
    save = trainer._save

    def stopping(at):
        save(at)
        if at == step:
            raise KeyboardInterrupt

    trainer._save = stopping
    with pytest.raises(KeyboardInterrupt):
        trainer.train(None)


def test_captions_of_a_frozen_tower_are_encoded_without_dropout(begin, dropping_clip):
    trainer, _ = begin(model={"backend": "hf_clip", "options": {"model": str(dropping_clip)}})
    trainer.student.train()
    found = trainer._text_features(torch.tensor([1, 0]))
    assert trainer.student.training
    encoder = trainer.student.eval().encoder
    expected = trainer.student.encode_texts(encoder.tokenize([trainer._data.captions[1]]))
    assert torch.allclose(found[0], expected[0], atol=1e-6)


def test_a_batch_in_parts_has_the_gradient_of_the_whole(begin):
    found = []
    for name, changes in (("whole", {}), ("parts", {"micro_batch": 3, "checkpoint_activations": True})):
        trainer, _ = begin(name, **{f"run__{key}": value for key, value in changes.items()})
        trainer._keeper.refresh(0)
        trainer._step(0, trainer._batches[0])
        found.append({n: p.grad for n, p in trainer.student.named_parameters() if p.requires_grad})
    for name, gradient in found[0].items():
        assert torch.allclose(found[1][name], gradient, atol=1e-6), name


def test_what_is_frozen_stays(begin):
    trainer, _ = begin()
    frozen = {n: p.clone() for n, p in trainer.student.named_parameters() if not p.requires_grad}
    before = weights(trainer)
    trainer.train(None)
    after = dict(trainer.student.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    dead = {name for name in before if "self_attn.in_proj" in name}  # only a third of it does anything
    assert changed >= set(before) - dead


@pytest.mark.parametrize("broken", ["features", "gradient"])
def test_what_is_not_finite_stops_the_run_with_the_batchs_keys(begin, broken):
    trainer, run = begin()
    encode, calls = trainer._encode, []

    def spoiled(pixels):
        found = encode(pixels)
        calls.append(1)
        if len(calls) < 8 or not found.features.requires_grad:
            return found
        if broken == "features":
            return found._replace(features=found.features * float("nan"))
        found.features.register_hook(lambda gradient: gradient / 0)
        return found

    trainer._encode = spoiled
    with pytest.raises(TrainingDivergedError, match=r"object-\d#\d") as caught:
        trainer.train(None)
    number = int(str(caught.value).split()[1].rstrip(":"))
    report = json.loads((run / f"diverged-step-{number:08d}-rank-0.json").read_text())
    batch = trainer._batches[number - 1]
    assert report["pictures"][:12] == [trainer._data.views.key(row) for row in batch.views.tolist()]
    assert len(report["pictures"]) == 16
    saved = latest_checkpoint(run)
    assert saved is None or saved.step < number


def test_views_without_captions_are_pulled_contrastively_towards_captioned_anchors(begin):
    captioned = [index % 3 == 0 for index in range(sum(COUNTS))]
    trainer, run = begin(
        captioned=captioned,
        anchors__of="captioned",
        loss__consistency={"weight": 0},
        loss__anchor_contrast={"weight": 0.3},
        loss__caption_agreement={"weight": 0.3},
    )
    trainer.train(None)
    assert all({"anchor_contrast", "caption_agreement"} <= set(line) for line in log(run))
    assert all("consistency" not in line for line in log(run))


def test_a_bank_tells_how_far_it_has_fallen_behind(begin):
    trainer, run = begin(anchors__source="bank", anchors__every_steps=2, optimiser__learning_rate=0.05)
    trainer.train(None)
    told = [line for line in log(run) if "bank_outliers_agree" in line]
    assert [line["step"] for line in told] == [3, 5]
    assert all(0 < line["bank_outliers_agree"] <= 1 for line in told)
    assert 0.3 < told[-1]["bank_anchor_cosine"] < 0.99999


def test_temperature_begins_where_it_is_asked_to_and_never_passes_a_hundred(begin):
    trainer, _ = begin(tune__temperature=14.3)
    assert trainer.student.inverse_temperature().item() == pytest.approx(14.3)
    trainer, _ = begin()
    with torch.no_grad():
        trainer.student.logit_scale.fill_(5.0)
    trainer.student.limit_temperature()
    assert trainer.student.inverse_temperature().item() == pytest.approx(100)


def test_compiled_it_trains_the_same(begin):
    plain, _ = begin("plain")
    plain.train(None)
    compiled, _ = begin("compiled", run__compile="aot_eager")
    compiled.train(None)
    expected = weights(plain)
    for name, value in weights(compiled).items():
        assert torch.allclose(value, expected[name], atol=1e-4), name


def test_a_compiler_that_nobody_knows_is_refused(begin):
    with pytest.raises(UnknownNameError, match="did you mean 'inductor'"):
        begin(run__compile="inducter")


def test_a_batch_that_processes_cannot_share_is_refused(begin):
    trainer, _ = begin()
    with pytest.raises(UsageError, match=r"data\.batch=12 cannot be shared evenly by 5"):
        make_batches(trainer._config, trainer._data, trainer.student.encoder.preprocessing, World(0, 5))


def test_a_warm_up_that_does_not_end_is_told(begin):
    for warmup in (6, 5):
        trainer, _ = begin(optimiser__warmup_steps=warmup)
        told = []
        trainer._say = told.append
        with trainer._progress(6, 0):
            assert any("warmup_steps=6, optimiser.steps=6" in line for line in told) == (warmup == 6)
