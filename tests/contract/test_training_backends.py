"""Every model that can be tuned keeps the contract of its folder, from the moment its file exists."""

import importlib

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch.nn import functional as F

from mvcap import plugins
from mvcap.errors import ModelUnavailableError
from training import lora
from training.student import Student
from training.tuning import prepare, trainable_parameters
from training.viformer import VIFormer

PACKAGE = "training.backends"
NAMES = plugins.names(PACKAGE)
TEXTS = ["a brown chair", "a table, seen from above", "a chair"]


@pytest.fixture(scope="session")
def model_options(small_clip, small_blip, small_open_clip):
    """Options with which a small model can be had on any machine."""
    return {
        "blip": {"model": str(small_blip)},
        "hf_clip": {"model": str(small_clip)},
        "open_clip": {"model": str(small_open_clip)},
    }


@pytest.fixture(params=NAMES)
def backend(request):
    torch.set_num_threads(1)
    return plugins.load(PACKAGE, request.param)


@pytest.fixture
def create(backend, model_options):
    name = backend.__name__.rpartition(".")[2]
    return lambda **more: backend.create(backend.Options(**model_options[name]), **more)


def pictures(encoder, count=3):
    rng = np.random.default_rng(0)
    side = encoder.preprocessing.size
    return torch.from_numpy(rng.integers(0, 256, (count, 3, side, side), dtype=np.uint8))


def test_options_are_strict_and_frozen(backend):
    assert importlib.import_module(backend.__name__).__doc__
    with pytest.raises(ValidationError):
        backend.Options(no_such_option=1)
    with pytest.raises(ValidationError):
        backend.Options().model = "other"


def test_a_missing_model_is_explained(backend):
    with pytest.raises(ModelUnavailableError, match=r"model\.options\.model"):
        backend.create(backend.Options(model="nobody/no-such-model"))


def test_pictures_and_texts_meet_in_one_space(create):
    encoder = create()
    student = Student(encoder, None).eval()
    with torch.no_grad():
        pixels, ids = pictures(encoder), encoder.tokenize(TEXTS)
        images, texts = student.embed(pixels), student.encode_texts(ids)
        alone = student.encode_texts(encoder.tokenize(TEXTS[:1]))
    assert images.shape == texts.shape == (3, encoder.width)
    assert images.dtype == texts.dtype == torch.float32
    assert torch.allclose(images.norm(dim=1), torch.ones(3))
    assert torch.allclose(alone, texts[:1], atol=1e-6), "a text does not depend on the others"
    assert (texts[0] - texts[1]).abs().max() > 1e-4
    assert encoder.logit_scale.numel() == 1
    assert set(encoder.identity()) >= {"backend", "model"}
    assert not any("/" in str(value) for value in encoder.identity().values())


def test_any_picture_becomes_a_square_of_the_models_own_size(create):
    fit, side = create().preprocessing.fit, create().preprocessing.size
    for size in ((side, side), (90, 60), (31, 200)):
        assert fit(Image.new("RGB", size, "red")).size == (side, side)


def test_each_tower_can_be_tuned_and_the_others_parameters_stay(create):
    for image, text in (("full", "frozen"), ("frozen", "full"), ("lora", "frozen"), ("frozen", "frozen")):
        encoder = create()
        prepare(encoder, image=image, text=text, rank=2, alpha=2)
        student = Student(encoder, None)
        pixels, ids = pictures(encoder), encoder.tokenize(TEXTS)
        logits = student.inverse_temperature() * (
            student.finish(student.encode_pictures(pixels)) @ student.encode_texts(ids).T
        )
        F.cross_entropy(logits, torch.arange(3)).backward()
        with_gradient = {id(p) for p in student.parameters() if p.grad is not None}
        image_ids = {id(p) for p in encoder.image_tower.parameters}
        text_ids = {id(p) for p in encoder.text_tower.parameters}
        assert bool(with_gradient & image_ids) == (image == "full")
        assert bool(with_gradient & text_ids) == (text == "full")
        assert id(student.logit_scale) in with_gradient
        if image == "frozen" and text == "frozen":
            assert trainable_parameters(student) == 1


def test_patches_and_checkpointed_activations_change_no_feature(create):
    encoder = create()
    prepare(encoder, image="full", text="frozen", rank=2, alpha=2)
    student = Student(encoder, None).train()
    pixels = pictures(encoder)
    plain = student.finish(student.encode_pictures(pixels))
    plain[:, 0].sum().backward()
    gradients = [p.grad.clone() for p in encoder.image_tower.parameters if p.grad is not None]
    student.zero_grad()
    encoder.checkpoint_activations()
    again = student.finish(student.encode_pictures(pixels))
    again[:, 0].sum().backward()
    assert torch.allclose(plain, again, atol=1e-6)
    for old, new in zip(
        gradients, [p.grad for p in encoder.image_tower.parameters if p.grad is not None], strict=True
    ):
        assert torch.allclose(old, new, atol=1e-5)
    if encoder.token_width:
        former = VIFormer(encoder.width, attend="patches", token_width=encoder.token_width, zero_start=True)
        with_patches = Student(encoder, former)
        assert torch.allclose(with_patches.embed(pixels), plain, atol=1e-6)


def test_tuned_merged_and_saved_it_loads_again_and_has_the_same_features(create, backend, tmp_path):
    encoder = create()
    stock = list(encoder.network.state_dict())
    prepare(encoder, image="lora", text="frozen", rank=2, alpha=4)
    student = Student(encoder, None).eval()
    torch.manual_seed(1)
    for name, parameter in student.named_parameters():
        if "lora_b" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    pixels, ids = pictures(encoder), encoder.tokenize(TEXTS)
    tuned = student.embed(pixels)
    lora.merge(encoder.network)
    assert list(encoder.network.state_dict()) == stock
    encoder.save(tmp_path / "saved")
    loaded = backend.create(backend.Options(model=str(tmp_path / "saved")))
    again = Student(loaded, None).eval()
    untuned = Student(create(), None).eval()
    with torch.no_grad():
        assert (again.embed(pixels) - tuned).abs().max() < 1e-5
        assert (untuned.embed(pixels) - tuned).abs().max() > 1e-3
        assert torch.equal(again.encode_texts(loaded.tokenize(TEXTS)), untuned.encode_texts(ids))
    assert loaded.preprocessing.mean == encoder.preprocessing.mean
    assert loaded.preprocessing.size == encoder.preprocessing.size


def test_without_weights_it_has_the_same_shapes(create):
    with_weights, without = create().network, create(weights=False).network
    shapes = {name: value.shape for name, value in with_weights.state_dict().items()}
    assert {name: value.shape for name, value in without.state_dict().items()} == shapes
