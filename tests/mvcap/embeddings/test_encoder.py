"""Category vectors and pictures by a small open_clip model with random weights."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mvcap.embeddings import encoder as encoding
from mvcap.embeddings.encoder import Encoder, LoadedEncoder, category_vectors, imagenet_labels
from mvcap.errors import ModelUnavailableError


@pytest.fixture
def encoder(small_open_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path / "cache"))
    return Encoder(str(small_open_clip), None)


def png(colour: tuple[int, int, int]) -> bytes:
    Image.new("RGB", (40, 40), colour).save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def test_a_category_is_the_mean_of_its_sentences(encoder: Encoder):
    import torch
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    loaded = encoder.load()
    found = loaded.encode_categories(["chair", "table", "car"], "openai")
    with torch.no_grad():
        tokens = loaded.tokenizer([template("table") for template in OPENAI_IMAGENET_TEMPLATES])
        sentences = loaded.model.encode_text(tokens).numpy()
    sentences /= np.linalg.norm(sentences, axis=1, keepdims=True)
    mean = sentences.mean(axis=0) / np.linalg.norm(sentences.mean(axis=0))
    np.testing.assert_allclose(found[1], mean, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3, "the model tells categories apart"


class LoadedAgain(Exception):
    """Raised in place of loading a model."""


def test_vectors_are_made_once_for_their_names_templates_and_weights(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: Encoder) -> LoadedEncoder:
        raise LoadedAgain

    first = category_vectors(["chair", "table"], encoder, "plain")
    monkeypatch.setattr(Encoder, "load", refuse)
    again = category_vectors(["chair", "table"], encoder, "plain")
    assert again.names == first.names
    np.testing.assert_array_equal(again.vectors, first.vectors)
    with pytest.raises(LoadedAgain):
        category_vectors(["table", "chair"], encoder, "plain")
    with pytest.raises(LoadedAgain):
        category_vectors(["chair", "table"], encoder, "openai")


def test_a_name_is_encoded_by_its_meaning_where_one_is_told(encoder: Encoder):
    found = category_vectors(["ram", "chair"], encoder, "plain", meanings=["ram (adult male sheep)", "chair"])
    expected = encoder.load().encode_categories(["ram (adult male sheep)", "chair"], "plain")
    assert found.names == ("ram", "chair")
    np.testing.assert_allclose(found.vectors, expected, atol=1e-6)


def test_other_weights_of_the_same_name_are_told_apart(small_open_clip: Path, tmp_path: Path):
    copy = tmp_path / small_open_clip.name
    copy.mkdir()
    for path in small_open_clip.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert Encoder(str(copy), None).identity() == Encoder(str(small_open_clip), None).identity()
    weights = copy / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert Encoder(str(copy), None).identity() != Encoder(str(small_open_clip), None).identity()


def test_pictures_become_their_mean_vector(encoder: Encoder):
    loaded = encoder.load()
    red, blue = png((200, 0, 0)), png((0, 0, 200))
    one, two, both = (loaded.encode_pictures(pictures) for pictures in ([red], [blue], [red, blue]))
    assert np.linalg.norm(one) == pytest.approx(1)
    np.testing.assert_allclose(both, (one + two) / np.linalg.norm(one + two), atol=1e-5)
    assert not np.allclose(one, two, atol=1e-3)


def test_an_unknown_model_and_missing_weights_are_explained():
    with pytest.raises(ModelUnavailableError, match=r"filter\.model and filter\.pretrained"):
        Encoder("ViT-Nothing", "openai").load()
    with pytest.raises(ModelUnavailableError, match="--category-vectors"):
        Encoder("ViT-B-32", "/nowhere/weights.pt").load()


def test_imagenet_has_a_thousand_names_two_of_them_twice():
    labels = imagenet_labels()
    assert (len(labels), len(set(labels))) == (1000, 998)
    assert "tench" in labels
    assert encoding._sentences("plain") == ["a photo of a {}."]
