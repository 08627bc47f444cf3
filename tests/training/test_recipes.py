"""Recipes: all of them valid, and their differences are those that they name."""

import pytest

from mvcap.config import producing_settings
from mvcap.errors import ConfigError, UnknownNameError
from mvcap.recipes import recipe_names
from training.recipes import PACKAGE, read_config

NAMES = recipe_names(PACKAGE)


def settings(name):
    return producing_settings(read_config(name))


def differences(one, other):
    one, other = settings(one), settings(other)
    return {key: (one.get(key), other.get(key)) for key in one if one.get(key) != other.get(key)} | {
        key: (one.get(key), other.get(key)) for key in other if key not in one
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_is_valid_and_has_its_own_name(name):
    assert read_config(name).name == name


def test_ours_departs_from_the_paper_where_it_says_so():
    changed = differences("ovt-paper", "ovt")
    assert set(changed) == {
        "name",
        "viformer.zero_start",
        "loss.multi_positive",
        "loss.consistency.hinge",
        "optimiser.decay_everything",
        "optimiser.warmup_steps",
    }
    assert changed["loss.consistency.hinge"] == ("open", "closing")


def test_the_paper_is_followed_by_its_words():
    config = read_config("ovt-paper")
    assert (config.tune.image, config.tune.text, config.tune.rank) == ("lora", "frozen", 8)
    assert (config.viformer.alpha, config.viformer.blend, config.viformer.attend) == (0.1, "convex", "self")
    assert (config.loss.consistency.weight, config.anchors.weights) == (1.0, "paper")
    optimiser = config.optimiser
    assert (optimiser.learning_rate, optimiser.betas, optimiser.eps) == (5e-5, (0.9, 0.98), 1e-6)
    assert (optimiser.weight_decay, optimiser.clip, optimiser.steps) == (0.05, 1.0, 35_000)
    assert (config.data.batch, config.clean.batch) == (512, 256)


def test_the_official_code_departs_where_its_recipe_says_so():
    changed = differences("ovt-paper", "ovt-official")
    assert set(changed) == {
        "name",
        "tune.temperature",
        "viformer.blend",
        "data.rotation_deg",
        "data.shift",
        "data.smallest_crop",
        "anchors.weights",
        "anchors.augmented",
        "optimiser.schedule_steps",
    }


def test_every_problem_is_told_at_once_with_the_nearest_name():
    with pytest.raises(ConfigError) as caught:
        read_config("ovt", ["optimizer.steps=3", "data.batch=0", "model.options.modle=x"])
    text = str(caught.value)
    assert "optimizer: unknown key; did you mean 'optimiser'?" in text
    assert "data.batch" in text
    assert "model.options.modle: unknown key; did you mean 'model'?" in text
    with pytest.raises(ConfigError, match="open_clip"):
        read_config("ovt", ["model.backend=openclip"])
    with pytest.raises(UnknownNameError, match="ovt-paper"):
        read_config("ovt-papier")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("clean.caption=a photo", "once, and no other braces"),
        ("clean.caption='{} and {}'", "once, and no other braces"),
        ("clean.caption='a {} of {x}'", "once, and no other braces"),
        ("optimiser.betas=[0.9, 1]", r"optimiser.betas.1: .* less than 1"),
    ],
)
def test_values_that_would_fail_later_are_refused(setting, told):
    with pytest.raises(ConfigError, match=told):
        read_config("ovt", [setting])


def test_views_are_not_pulled_to_anchors_made_of_themselves():
    with pytest.raises(ConfigError, match=r"anchors\.of=captioned"):
        read_config("ovt", ["loss.anchor_contrast.weight=0.3"])
    config = read_config("ovt", ["loss.anchor_contrast.weight=0.3", "anchors.of=captioned"])
    assert config.loss.wants_anchors
