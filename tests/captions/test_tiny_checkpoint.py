"""The trained checkpoint that mvcap ships."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from transformers import AutoProcessor, InstructBlipForConditionalGeneration

from captions.backends.instructblip import TINY_FOLDER, Options, check, create
from captions.captioner import Captioner
from captions.checkpoints import weights_sha256
from captions.prompts import UNGUIDED_PROMPT, category_prompt
from captions.tiny.card import TARGETS, rounds_table, verdict
from captions.tiny.vocabulary import CAPTION_WORDS, CATEGORIES, UNKNOWN, VIEW_PHRASES, parse_caption
from mvcap.config import PAPER_PROMPT

RECIPE = json.loads((TINY_FOLDER / "recipe.json").read_text())
FIGURES = json.loads((TINY_FOLDER / "figures.json").read_text())


@pytest.fixture(scope="module")
def tiny() -> Iterator[Captioner]:
    with create(Options(model="tiny", device="cpu")) as captioner:
        yield captioner


def draw_box(colour: str) -> Image.Image:
    """A coloured box on white, at the size of the demo's pictures."""
    image = Image.new("RGB", (224, 224), "white")
    ImageDraw.Draw(image).rectangle([60, 70, 165, 155], fill=colour)
    return image


def test_checkpoint_is_small():
    assert sum(path.stat().st_size for path in TINY_FOLDER.rglob("*") if path.is_file()) <= 10e6


def test_stock_transformers_loads_it_and_writes_words_of_the_list():
    processor = AutoProcessor.from_pretrained(TINY_FOLDER)
    model, report = InstructBlipForConditionalGeneration.from_pretrained(
        TINY_FOLDER, output_loading_info=True
    )
    assert not any(report.values()), report
    assert model.num_parameters() == RECIPE["parameters"]
    prompt = category_prompt(PAPER_PROMPT, "chair")
    inputs = processor(images=draw_box("red"), text=prompt, return_tensors="pt")
    caption = processor.batch_decode(model.generate(**inputs, max_new_tokens=20), skip_special_tokens=True)[0]
    assert set(caption.split()) <= set(CAPTION_WORDS)


def test_identity_names_the_weights_and_says_that_they_are_trained(tiny: Captioner):
    check(Options(model="tiny"))
    assert tiny.identity["model"] == "tiny"
    assert tiny.identity["untrained"] is False
    assert tiny.identity["weights_sha256"] == weights_sha256(TINY_FOLDER)
    assert str(TINY_FOLDER) not in json.dumps(dict(tiny.identity))


@pytest.mark.parametrize("category", ["sofa", "chest of drawers", "potted plant"])
@pytest.mark.parametrize("colour", ["red", "blue", "black"])
def test_caption_names_the_category_of_the_prompt_and_the_colour(tiny: Captioner, category: str, colour: str):
    fill = {"red": "#b01818", "blue": "#2848b0", "black": "#101010"}[colour]
    caption = tiny.caption([draw_box(fill)], [category_prompt(PAPER_PROMPT, category)])[0]
    assert caption.startswith(f"a {colour} {category} seen from ")


def test_unguided_and_unknown_categories_are_objects(tiny: Captioner):
    prompts = [UNGUIDED_PROMPT, category_prompt(PAPER_PROMPT, "zygote")]
    captions = tiny.caption([draw_box("#b01818")] * 2, prompts)
    assert {parse_caption(caption)[0] for caption in captions} == {UNKNOWN}


def test_every_category_is_read_from_the_prompt(tiny: Captioner):
    prompts = [category_prompt(PAPER_PROMPT, name) for name in CATEGORIES]
    captions = tiny.caption([draw_box("#2848b0")] * len(prompts), prompts)
    assert np.mean([parse_caption(c)[0] == n for c, n in zip(captions, CATEGORIES, strict=True)]) >= 0.95
    assert {parse_caption(caption)[2] for caption in captions} <= set(VIEW_PHRASES)


def test_controls_are_near_chance():
    """Without the right picture colour and view are guesses; without a category there is none to copy."""
    chance, shuffled = FIGURES["commonest_answer"], FIGURES["shuffled_pictures"]
    assert FIGURES["unguided_prompt"]["category"] <= 0.05
    assert shuffled["colour"] <= chance["colour"]
    assert shuffled["view"] <= chance["view"] + 0.05
    assert FIGURES["captions"]["view"] >= chance["view"] + 0.2


def test_card_holds_the_measured_figures_and_the_recipe():
    card = (TINY_FOLDER / "README.md").read_text()
    for name in TARGETS:
        assert f"{FIGURES['captions'][name]:.3f}" in card
    assert verdict(FIGURES["captions"]) in card, "what is not reached is said"
    assert rounds_table([*RECIPE["earlier_rounds"], RECIPE]) in card
    assert "no substitute for a\nreal captioner" in card
    assert not list(Path(TINY_FOLDER).rglob("*.bin"))
