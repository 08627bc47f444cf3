import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import constants

from captions.checkpoints import check_model, find_checkpoint, local_folder, missing_files, weights_sha256
from mvcap.errors import ModelUnavailableError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return shutil.copytree(checkpoint, tmp_path / "model")


def edit_json(path: Path, change: Callable[[dict], object]) -> None:
    content = json.loads(path.read_text()) if path.exists() else {}
    change(content)
    path.write_text(json.dumps(content))


def shard(folder: Path, *names: str) -> None:
    """Replace the weights by an index that names these shards; they are not created."""
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {f"weight.{i}": name for i, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_complete_folder_passes_and_keeps_its_own_name(folder: Path):
    check_model(str(folder), None)
    found = find_checkpoint(str(folder), None)
    assert (found.folder, found.name, found.commit) == (folder, "model", None)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "qformer_tokenizer/tokenizer.json",
    ],
)
def test_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(ModelUnavailableError) as caught:
        check_model(str(folder), None)
    shown = name.replace("processor_config", "preprocessor_config")
    assert f"lacks {shown}." in str(caught.value)
    assert str(folder) in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_shard_is_named(folder: Path):
    shard(folder, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    weights = {"a": np.zeros(3, np.float32)}
    safetensors.numpy.save_file(weights, folder / "model-00001-of-00002.safetensors")
    assert missing_files(folder) == ["model-00002-of-00002.safetensors"]
    safetensors.numpy.save_file(weights, folder / "model-00002-of-00002.safetensors")
    check_model(str(folder), None)


@pytest.mark.parametrize("kept", [0, 5, 2000, -1])
def test_weights_that_were_cut_off_are_refused_before_anything_is_loaded(folder: Path, kept: int):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    for refuse in (check_model, find_checkpoint):
        with pytest.raises(ModelUnavailableError, match=r"model\.safetensors .* damaged or cut off"):
            refuse(str(folder), None)


def test_pickled_weights_are_never_an_answer(folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        ModelUnavailableError, match=r"pytorch_model\.bin is a pickle, which mvcap never loads"
    ):
        check_model(str(folder), None)


def test_roundabout_ways_to_a_pickle_are_refused(checkpoint: Path, tmp_path: Path):
    by_index, by_config, by_adapter = (shutil.copytree(checkpoint, tmp_path / name) for name in "abc")
    shard(by_index, "pytorch_model-00001-of-00001.bin")
    (by_index / "pytorch_model-00001-of-00001.bin").touch()
    edit_json(
        by_config / "config.json", lambda config: config.update(transformers_weights="adapter_model.bin")
    )
    edit_json(by_adapter / "adapter_config.json", lambda config: config.update(base_model_name_or_path="x"))
    for folder in (by_index, by_config, by_adapter):
        with pytest.raises(ModelUnavailableError, match="does not keep all its weights in"):
            check_model(str(folder), None)


def test_shard_outside_the_folder_is_refused(folder: Path):
    (folder.parent / "outside.safetensors").touch()
    shard(folder, "../outside.safetensors")
    with pytest.raises(ModelUnavailableError, match="lacks"):
        check_model(str(folder), None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.update(model_type="blip-2"), "'blip-2' with language model 't5'"),
        (lambda config: config["text_config"].update(model_type="llama"), "language model 'llama'"),
    ],
)
def test_another_architecture_is_refused(folder: Path, change: Callable[[dict], object], said: str):
    edit_json(folder / "config.json", change)
    with pytest.raises(ModelUnavailableError, match=said):
        check_model(str(folder), None)


def test_config_that_is_no_json_object_is_refused(folder: Path):
    for content in ("{", "[]", ""):
        (folder / "config.json").write_text(content)
        with pytest.raises(ModelUnavailableError, match=r"config\.json"):
            check_model(str(folder), None)


@pytest.mark.parametrize(
    "model", ["/no/such/folder", "./model", "a/b/c", "", "..", "org/na me", "https://x/y"]
)
def test_what_is_neither_folder_nor_name_is_refused(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    if model == "..":
        with pytest.raises(ModelUnavailableError, match="lacks"):
            check_model(model, None)
        return
    with pytest.raises(ModelUnavailableError, match="neither a folder"):
        local_folder(model)


def test_complete_cached_snapshot_needs_no_hub(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    repository = tmp_path / "models--some--model"
    shutil.copytree(checkpoint, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    check_model("some/model", None)
    check_model("some/model", COMMIT)
    found = find_checkpoint("some/model", None)
    assert (found.name, found.commit) == ("some/model", COMMIT)
    (found.folder / "tokenizer.json").unlink()
    for ask in (check_model, find_checkpoint):
        with pytest.raises(ModelUnavailableError, match="cannot be fetched"):
            ask("some/model", None)


def test_weights_hash_sees_every_shard_and_its_name(tmp_path: Path):
    (tmp_path / "a.safetensors").write_bytes(b"abc")
    (tmp_path / "notes.txt").write_bytes(b"ignored")
    # SHA-256 of "abc", FIPS 180-2
    assert weights_sha256(tmp_path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "b.safetensors").write_bytes(b"def")
    both = weights_sha256(tmp_path)
    (tmp_path / "b.safetensors").rename(tmp_path / "c.safetensors")
    assert len({both, weights_sha256(tmp_path)}) == 2
