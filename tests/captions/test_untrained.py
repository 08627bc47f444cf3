import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, InstructBlipForConditionalGeneration

from captions.checkpoints import weights_sha256
from captions.tiny.untrained import CAPTION_WORDS, build_untrained_checkpoint, cached_untrained_checkpoint
from mvcap.errors import ModelUnavailableError


def test_weights_are_a_function_of_the_seed(checkpoint: Path, tmp_path: Path):
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again = build_untrained_checkpoint(tmp_path / "again")
    assert weights_sha256(again) == weights_sha256(checkpoint)
    assert weights_sha256(build_untrained_checkpoint(tmp_path / "other", seed=1)) != weights_sha256(
        checkpoint
    )
    assert torch.equal(torch.get_rng_state(), state), "the caller's random numbers are left alone"


def test_checkpoint_is_small_and_says_that_it_is_untrained(checkpoint: Path):
    assert sum(path.stat().st_size for path in checkpoint.rglob("*") if path.is_file()) < 5e6
    card = (checkpoint / "README.md").read_text()
    assert "untrained" in card
    assert "captions mean nothing" in card


def test_stock_transformers_loads_it_and_writes_words_of_the_list(
    checkpoint: Path, make_picture: Callable[[int], Image.Image], make_prompt: Callable[[int], str]
):
    processor = AutoProcessor.from_pretrained(checkpoint)
    model, report = InstructBlipForConditionalGeneration.from_pretrained(checkpoint, output_loading_info=True)
    assert not any(report.values()), report
    inputs = processor(images=make_picture(0), text=make_prompt(0), return_tensors="pt")
    caption = processor.batch_decode(model.generate(**inputs, max_new_tokens=8), skip_special_tokens=True)[0]
    assert caption
    assert set(caption.split()) <= set(CAPTION_WORDS)


def test_known_words_are_whole_tokens_and_others_are_spelt(checkpoint: Path):
    processor = AutoProcessor.from_pretrained(checkpoint)
    assert processor.tokenizer.tokenize("a wooden chair xy.") == [
        "▁a",
        "▁wooden",
        "▁chair",
        "▁",
        "x",
        "y",
        ".",
    ]
    assert processor.qformer_tokenizer.tokenize("A Chair xy") == ["a", "chair", "x", "##y"]


def test_builders_at_the_same_time_leave_one_complete_folder(checkpoint: Path, tmp_path: Path):
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(build_untrained_checkpoint, [tmp_path / "models" / "small"] * 3))
    assert len(set(folders)) == 1
    assert weights_sha256(folders[0]) == weights_sha256(checkpoint)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["small"], "no temporary folder is left"


def test_second_use_of_the_cache_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MVCAP_CACHE", str(tmp_path))
    folder = cached_untrained_checkpoint()
    assert folder.is_relative_to(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert cached_untrained_checkpoint() == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_cache_follows_xdg_where_mvcap_cache_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MVCAP_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cached_untrained_checkpoint().is_relative_to(tmp_path / "mvcap")


def test_damaged_folder_is_named(checkpoint: Path, tmp_path: Path):
    folder = build_untrained_checkpoint(tmp_path / "small")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailableError, match=r"lacks model\.safetensors"):
        build_untrained_checkpoint(folder)


def test_cache_that_cannot_be_written_is_explained(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelUnavailableError, match="set MVCAP_CACHE"):
        build_untrained_checkpoint(tmp_path / "file" / "small")


def test_other_users_may_read_the_cache(checkpoint: Path):
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in [checkpoint, *checkpoint.rglob("*")])
    assert json.loads((checkpoint / "config.json").read_text())["model_type"] == "instructblip"
