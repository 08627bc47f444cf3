"""The training recipe on a few synthetic views."""

import json
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from captions.tiny.architecture import Size, build_processor, save_checkpoint
from captions.tiny.batches import IGNORED, BatchMaker, jitter
from captions.tiny.card import verdict
from captions.tiny.evaluate import score
from captions.tiny.examples import Examples, examples_from_rows, held_out_uids, is_validation
from captions.tiny.first_weights import fresh_model, sine_positions
from captions.tiny.labels import name_colours
from captions.tiny.train import ROUNDS, Recipe, dropping_patches, earlier_rounds, train
from captions.tiny.vocabulary import (
    CAPTION_WORDS,
    CATEGORIES,
    READ_WORDS,
    VIEW_PHRASES,
    compose_caption,
    parse_caption,
)
from captions.tiny.vocabulary import COLOURS as COLOUR_WORDS

SIZE = Size(width=32, vision_layers=1, text_layers=1, image_size=32, patch_size=16, query_tokens=2)
RECIPE = Recipe(vision_steps=3, steps=30, batch_size=8, warmup_steps=5, size=SIZE)
COLOURS = {"red": (200, 20, 20), "green": (30, 140, 40), "blue": (40, 70, 180)}


def synthetic_row(index: int) -> dict[str, Any]:
    """A coloured square, seen from somewhere."""
    rgba = np.zeros((48, 48, 4), np.uint8)
    rgba[8:40, 8:40] = (*list(COLOURS.values())[index % 3], 255)
    Image.fromarray(rgba).save(buffer := BytesIO(), format="PNG")
    return {
        "uid": f"object-{index // 4}",
        "category": ("chair", "rug")[index // 4 % 2],
        "view_index": index % 4,
        "image": {"bytes": buffer.getvalue(), "path": None},
        "background": "#ffffff",
        "azimuth_deg": 30.0 * index,
        "elevation_deg": 7.0 * (index % 12),
    }


@pytest.fixture(scope="module")
def examples() -> Examples:
    fronts = {f"object-{i}": 270.0 for i in range(6)}
    return examples_from_rows([synthetic_row(i) for i in range(24)], fronts)


@pytest.fixture
def maker(examples: Examples) -> BatchMaker:
    processor = build_processor(CAPTION_WORDS + READ_WORDS, SIZE)
    return BatchMaker(examples, processor, np.random.default_rng(0))


def test_labels_are_measured_from_pixels_and_camera(examples: Examples):
    row = 3  # object-0 is a chair: azimuth 90 is right behind it, elevation 21
    assert examples.colour_words()[row] == "red"
    assert VIEW_PHRASES[examples.views[row]] == "from behind"
    assert tuple(examples.pixels[row, 0, 0]) == (255, 255, 255), "composited on the background"
    rugs = np.array([name == "rug" for name in examples.categories])
    assert {VIEW_PHRASES[view] for view in examples.where(rugs).views} <= {"from the side", "from above"}
    assert np.isnan(examples.where(rugs).from_front_deg).all()


def test_views_may_come_in_any_order(examples: Examples):
    again = examples_from_rows([synthetic_row(i) for i in reversed(range(24))], {"object-0": 270.0})
    assert again.uids == examples.uids
    assert np.array_equal(again.pixels, examples.pixels)


def test_examples_taken_apart_and_joined_are_the_same(examples: Examples):
    first = np.arange(len(examples)) < 7
    again = Examples.join([examples.where(first), examples.where(~first)])
    for column in fields(Examples):
        np.testing.assert_array_equal(getattr(again, column.name), getattr(examples, column.name))


def test_pictures_without_alpha_are_refused():
    row = synthetic_row(0)
    Image.new("RGB", (48, 48)).save(buffer := BytesIO(), format="PNG")
    with pytest.raises(ValueError, match="keep_alpha"):
        examples_from_rows([{**row, "image": {"bytes": buffer.getvalue(), "path": None}}], {})
    with pytest.raises(ValueError, match="no views"):
        examples_from_rows([], {})


def test_what_the_heads_learn_of_the_camera_survives_a_mirror(examples: Examples):
    """The jitter mirrors pictures: a camera left of the front and one right of it must share all labels."""
    turns = examples.from_front_deg[~np.isnan(examples.from_front_deg)]
    mirrored = replace(examples, from_front_deg=-examples.from_front_deg)
    assert (turns % 180 != 0).any(), "some cameras stand to one side"
    processor = build_processor(CAPTION_WORDS + READ_WORDS, SIZE)
    angles = [
        BatchMaker(e, processor, np.random.default_rng(0)).draw(64).angles for e in (examples, mirrored)
    ]
    torch.testing.assert_close(*angles, equal_nan=True)


def test_white_says_nothing_to_the_encoder_and_jitter_keeps_colours_apart():
    image_processor = build_processor(CAPTION_WORDS, SIZE, white_is_zero=True).image_processor
    white = image_processor(Image.new("RGB", (50, 50), "white"), return_tensors="pt")["pixel_values"]
    assert white.abs().max() == 0
    red = np.full((32, 48, 48, 3), (200, 20, 20), np.uint8)
    moved = jitter(red, image_processor, np.random.default_rng(0), brightness=0.08)
    assert moved.shape == (32, 3, SIZE.image_size, SIZE.image_size)
    assert (moved[:, 0] > moved[:, 1] + 1).all(), "red stays red"


def test_encoder_sees_the_class_token_and_some_patches_while_it_is_trained_alone():
    vision = fresh_model(build_processor(CAPTION_WORDS, SIZE), SIZE).vision_model
    pictures = torch.rand(3, 3, SIZE.image_size, SIZE.image_size)
    whole = vision.embeddings(pictures)  # (3, 1 + 4, D)
    with dropping_patches(vision, 0.5):
        part = vision.embeddings(pictures)
    assert part.shape == (3, 1 + 2, SIZE.width)
    assert torch.equal(part[:, 0], whole[:, 0])
    for seen, everything in zip(part, whole, strict=True):
        assert all((everything == token).all(dim=1).any() for token in seen)
    assert vision.embeddings(pictures).shape == whole.shape, "only inside the block"


def test_positions_are_the_more_alike_the_nearer_they_are():
    positions = sine_positions(8, 32)[0]  # (1 + 64, 32)
    assert positions[0].abs().max() == 0, "the class token has none"
    likeness = (positions[1:] @ positions[1]).reshape(8, 8)  # to the corner
    assert likeness.argmax() == 0
    assert likeness[0, 1] == pytest.approx(likeness[1, 0].item())
    assert likeness[0, 0] > likeness[0, 1] > likeness[0, 2] > likeness[1, 2]


def test_fresh_model_sees(examples: Examples):
    """transformers' own first weights are zeros and 1e-10: two pictures would look the same."""
    model = fresh_model(build_processor(CAPTION_WORDS, SIZE), SIZE)
    pictures = torch.stack([torch.zeros(3, 32, 32), torch.ones(3, 32, 32)])
    first, second = model.vision_model(pictures)[0].mean(dim=1)
    assert (first - second).abs().mean() > 0.1
    assert model.query_tokens.std() > 0.1


def test_about_two_fifths_of_the_prompts_name_another_category(maker: BatchMaker):
    batch = maker.draw(2000)
    own = batch.categories.numpy() + 1
    prompts = maker._draw_prompts(np.zeros(20_000, np.int64))
    chair = CATEGORIES.index("chair") + 1
    assert np.mean(prompts == chair) == pytest.approx(0.5 + 0.4 / len(CATEGORIES), abs=0.02)
    assert np.mean(prompts == 0) == pytest.approx(0.05, abs=0.01), "no category"
    assert np.mean(prompts > len(CATEGORIES)) == pytest.approx(0.05, abs=0.01), "unknown category"
    assert set(own) == {chair, CATEGORIES.index("rug") + 1}, "the heads learn the true one"


def test_padding_is_not_learnt(maker: BatchMaker):
    labels = maker.draw(64).inputs["labels"]
    assert (labels == IGNORED).any()
    assert not (labels == 0).any()


def test_training_is_deterministic_lowers_the_loss_and_leaves_the_caller_alone(examples: Examples):
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    weights = [train(examples, RECIPE)[1].state_dict() for _ in range(2)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    other = train(examples, replace(RECIPE, seed=1))[1].state_dict()
    assert not torch.equal(weights[0]["query_tokens"], other["query_tokens"])


def test_second_round_goes_on_from_what_the_first_saved(examples: Examples, tmp_path: Path):
    processor, model = train(examples, RECIPE)
    save_checkpoint(tmp_path, processor, model, "")
    idle = replace(RECIPE, vision_steps=1, steps=1, learning_rate=0.0)
    again = train(examples, idle, start=tmp_path)[1].state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(again[name], weight, msg=name)
    further = train(examples, RECIPE, start=tmp_path)[1].state_dict()
    assert not torch.equal(further["query_tokens"], again["query_tokens"])


def test_exchanged_channels_change_the_colours_that_are_measured():
    rows = [synthetic_row(3 * index) for index in range(16)]  # all of them red
    fronts = {row["uid"]: None for row in rows}
    plain, recoloured = (examples_from_rows(rows, fronts, recoloured=share) for share in (0.0, 1.0))
    assert set(plain.colour_words()) == {"red"}
    assert len(set(recoloured.colour_words())) > 2
    assert (plain.pixels.mean(axis=3) == recoloured.pixels.mean(axis=3)).all(), "the shapes stay"
    again = examples_from_rows(rows, fronts, recoloured=1.0)
    assert np.array_equal(again.pixels, recoloured.pixels)


def test_redrawn_pictures_are_labelled_with_the_colours_that_they_got(examples: Examples):
    processor = build_processor(CAPTION_WORDS + READ_WORDS, SIZE, white_is_zero=True)
    batch = BatchMaker(examples, processor, np.random.default_rng(0), redrawn=0.7).draw(256)
    captions = processor.tokenizer.batch_decode(
        batch.inputs["labels"].masked_fill(batch.inputs["labels"] == IGNORED, 0), skip_special_tokens=True
    )
    told = [parse_caption(caption)[1] for caption in captions]
    middle = batch.inputs["pixel_values"][:, :, SIZE.image_size // 2, SIZE.image_size // 2]  # of the square
    shown = name_colours((255 * (1 + 0.5 * middle)).round().to(torch.uint8).numpy())
    assert told == [COLOUR_WORDS[index] for index in shown]
    assert len(set(told)) > 8, "red, green and blue things come in nearly all colours"
    assert torch.equal(batch.colours.argmax(dim=1), torch.from_numpy(shown))
    torch.testing.assert_close(batch.colours.sum(dim=1), torch.ones(256))


def test_each_round_follows_on_the_one_before_and_none_on_the_last(tmp_path: Path):
    recipe = {"seed": 0, "earlier_rounds": []}
    for number in range(1, len(ROUNDS)):
        (tmp_path / "recipe.json").write_text(json.dumps(recipe))
        done = earlier_rounds(tmp_path)
        assert [one["seed"] for one in done] == list(range(number))
        recipe = {"seed": number, "earlier_rounds": done}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(typer.BadParameter, match=f"all {len(ROUNDS)} rounds"):
        earlier_rounds(tmp_path)


def test_loss_falls(examples: Examples):
    lines: list[str] = []
    train(examples, replace(RECIPE, vision_steps=1, steps=200), say=lines.append)
    first, second = (float(line.rpartition(" ")[2]) for line in lines)
    assert second < 0.8 * first


def test_right_captions_score_one_and_wrong_ones_zero(examples: Examples):
    right = [
        compose_caption(name, colour, VIEW_PHRASES[view])
        for name, colour, view in zip(
            examples.categories, examples.colour_words(), examples.views, strict=True
        )
    ]
    assert set(score(right, examples).values()) == {1.0}
    wrong = ["a sofa seen from nowhere"] * len(examples)
    assert score(wrong, examples)["category"] == score(wrong, examples)["colour"] == 0
    assert score(wrong, examples)["view"] == 0


def test_views_between_two_phrases_are_judged_apart(examples: Examples):
    assert 0 < examples.between.sum() < len(examples)
    captions = [
        compose_caption(name, None, "nowhere" if between else VIEW_PHRASES[view])
        for name, view, between in zip(examples.categories, examples.views, examples.between, strict=True)
    ]
    figures = score(captions, examples)
    assert figures["view"] == 1
    assert figures["view_all"] == pytest.approx(1 - examples.between.mean(), abs=1e-4)


def test_validation_objects_are_about_an_eighth_and_never_held_out():
    uids = [f"object-{index}" for index in range(2000)]
    assert np.mean([is_validation(uid) for uid in uids]) == pytest.approx(1 / 8, abs=0.03)
    assert not any(is_validation(uid) for uid in held_out_uids())


def test_card_names_the_missed_targets():
    assert verdict({"category": 1.0, "colour": 0.96, "view": 0.8}) == "All reached."
    assert verdict({"category": 1.0, "colour": 0.9, "view": 0.5}) == (
        "**Not reached**: colour (0.900), view (0.500)."
    )
