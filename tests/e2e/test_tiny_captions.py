"""The shipped captioner on held-out objects that are rendered here and now."""

import json
from pathlib import Path

import numpy as np
import pytest

from captions.backends.instructblip import TINY_FOLDER, Options, create
from captions.tiny.card import TARGETS
from captions.tiny.evaluate import guided_prompts, score, write_captions
from captions.tiny.examples import held_out_uids, read_examples

VIEWS = Path(__file__).parents[2] / "captions" / "tiny" / "views.yaml"
FIGURES = json.loads((TINY_FOLDER / "figures.json").read_text())


@pytest.mark.blender
@pytest.mark.slow
def test_held_out_objects_are_captioned_as_well_as_the_card_says(mvcap, tmp_path):
    out, demo = tmp_path / "views", "sources=[{source: sh3f, options: {selection: demo}}]"
    done = mvcap(
        *("render", "--config", VIEWS, "--out", out, "--preset", "fast", "--views", 4),
        *("--runner", "local", "--set", demo, "--set", "seed=7"),
    )
    assert done.returncode in (0, 3), done.stderr  # a picture may be rejected
    examples = read_examples([out])
    assert set(examples.uids) == held_out_uids()
    with create(Options(model="tiny", device="cpu")) as tiny:
        measured = score(write_captions(tiny, examples.pixels, guided_prompts(examples)), examples)
    for name in TARGETS:  # cameras of its own: three standard errors of about 200 views
        share = FIGURES["captions"][name]
        assert measured[name] >= share - 3 * np.sqrt(max(share * (1 - share), 0.01) / 200), name
