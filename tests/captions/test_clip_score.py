"""The CLIP score on a small CLIP with random weights: the real code, the real architecture."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPProcessor

from captions.clip_score import ClipScorer, check_clip, load_clip
from captions.scoring import score_captions
from mvcap.errors import ERROR, ModelUnavailableError
from mvcap.records import CaptionedView, Rejected, View

CAPTIONS = [
    "a red chair",
    "a bed.",
    "a table seen from above, from the left side",
    "chair",
    "a red chair",
    "7",
]


@pytest.fixture(scope="module")
def scorer(small_clip: Path) -> Iterator[ClipScorer]:
    loaded = load_clip(str(small_clip), None)
    yield loaded
    loaded.close()


@pytest.fixture
def folder(small_clip: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(small_clip, tmp_path / "clip")


def test_a_score_is_the_cosine_of_the_two_embeddings(
    scorer: ClipScorer, small_clip: Path, make_picture: Callable[[int], Image.Image]
):
    model = CLIPModel.from_pretrained(small_clip)
    processor = CLIPProcessor.from_pretrained(small_clip, backend="pil")
    for index, caption in enumerate(CAPTIONS):
        inputs = processor(
            images=make_picture(index), text=caption, return_tensors="pt", truncation=True, max_length=24
        )
        with torch.inference_mode():
            outputs = model(**inputs)
        expected = torch.cosine_similarity(outputs.image_embeds, outputs.text_embeds).item()
        assert scorer.score([make_picture(index)], [caption]) == [pytest.approx(expected, abs=1e-4)]


def test_scores_depend_on_picture_and_caption_and_not_on_the_batch(
    scorer: ClipScorer, make_picture: Callable[[int], Image.Image]
):
    pictures = [make_picture(index) for index in range(len(CAPTIONS))]
    together = scorer.score(pictures, CAPTIONS)
    alone = [scorer.score([one], [text])[0] for one, text in zip(pictures, CAPTIONS, strict=True)]
    assert together == alone
    assert scorer.score(pictures[:1], CAPTIONS[1:2]) != together[:1]
    assert scorer.score(pictures[4:5], CAPTIONS[:1]) != together[:1], "the pictures differ"


def test_a_caption_too_long_for_the_model_is_scored_by_its_beginning(
    scorer: ClipScorer, make_picture: Callable[[int], Image.Image]
):
    (score,) = scorer.score([make_picture(0)], ["a chair " * 50])
    assert -1 <= score <= 1


def test_captioned_views_get_scores_and_rejected_ones_pass_in_order(
    scorer: ClipScorer, make_view: Callable[..., View], make_picture: Callable[[int], Image.Image]
):
    records: list[CaptionedView | Rejected] = [
        CaptionedView(make_view(make_picture(index), index=index), text, "Write")
        for index, text in enumerate(CAPTIONS[:4])
    ]
    records.insert(1, Rejected("uid", "caption", ERROR, "no word", 9))
    expected = scorer.score([make_picture(index) for index in range(4)], CAPTIONS[:4])
    for batch_size in (1, 2, 99):
        scored = list(score_captions(records, scorer, batch_size=batch_size))
        assert [record.key for record in scored] == [record.key for record in records]
        assert scored[1] is records[1]
        assert [one.clip_score for one in scored if isinstance(one, CaptionedView)] == expected


def test_who_scored_is_told_without_a_path(scorer: ClipScorer, small_clip: Path):
    assert scorer.identity["model"] == small_clip.name
    assert len(str(scorer.identity["weights_sha256"])) == 64
    assert str(small_clip.parent) not in json.dumps(scorer.identity)


def test_a_folder_without_safetensors_is_refused(folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailableError, match=r"lacks config.json or model.safetensors; pickles"):
        check_clip(str(folder), None)


def test_missing_weights_are_refused_and_not_filled_with_noise(folder: Path):
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailableError, match="lacks 1 weights, such as visual_projection"):
        load_clip(str(folder), None)


def test_another_architecture_is_no_clip(checkpoint: Path):
    with pytest.raises(ModelUnavailableError, match="CLIP"):
        load_clip(str(checkpoint), None)


def test_a_name_that_no_hub_gives_is_refused_before_anything_is_loaded():
    with pytest.raises(ModelUnavailableError, match="nobody/no-such-clip"):
        check_clip("nobody/no-such-clip", None)
