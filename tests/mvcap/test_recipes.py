"""Recipes, `--set`, and all problems at once."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mvcap import plugins
from mvcap.config import Config
from mvcap.errors import ConfigError, UnknownNameError, UsageError
from mvcap.recipes import apply_overrides, build_config, read_recipe, recipe_names
from mvcap.sources.sh3f import Options as FurnitureOptions

RecipeFile = Callable[[str | bytes], str]


def build(settings: dict[str, Any]) -> Config:
    """Build a configuration without its captioner, whose file imports torch."""
    return build_config(settings, plugins.options_model, captions=False)


@pytest.fixture
def recipe_file(tmp_path: Path) -> RecipeFile:
    def write(text: str | bytes) -> str:
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    return write


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid_and_bears_its_own_name(name: str):
    assert build(read_recipe(name)).name == name


def test_the_demo_asks_for_reviewed_furniture():
    (source,) = build(read_recipe("demo")).sources
    assert source.options == FurnitureOptions(selection="demo")


def test_an_unknown_recipe_names_the_nearest_one():
    with pytest.raises(
        UnknownNameError, match=r"unknown recipe 'dmo'; did you mean 'demo'\? \(valid: .*demo"
    ):
        read_recipe("dmo")


@pytest.mark.parametrize("name", ["missing.yaml", "folder/recipe", "/"])
def test_a_missing_file_is_not_taken_for_a_recipe(name: str):
    with pytest.raises(UsageError, match="there is no configuration file"):
        read_recipe(name)


@pytest.mark.parametrize("name", ["", "x" * 300, "de\0mo", "x" * 300 + ".yaml"])
def test_a_hostile_recipe_name_is_a_usage_error(name: str):
    with pytest.raises(UsageError):
        read_recipe(name)


def test_a_file_may_have_a_byte_order_mark_and_crlf(recipe_file: RecipeFile):
    path = recipe_file(b"\xef\xbb\xbfrender:\r\n  views: 3\r\n")
    assert read_recipe(path) == {"render": {"views": 3}}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "must hold a mapping of settings, not NoneType"),
        ("- 1\n", "not list"),
        ("a: [1\n", "is not valid YAML"),
        ("a: !!python/object/apply:os.getcwd []\n", "is not valid YAML"),
        ("? [1, 2]\n: 3\n", "unhashable"),
    ],
)
def test_what_is_not_a_mapping_is_refused(recipe_file: RecipeFile, text: str, part: str):
    with pytest.raises(ConfigError, match=part):
        read_recipe(recipe_file(text))


def test_a_file_that_is_no_text_is_a_usage_error(recipe_file: RecipeFile):
    with pytest.raises(UsageError, match="cannot read the configuration"):
        read_recipe(recipe_file(b"PK\x03\x04\xff\xfe"))


@pytest.mark.parametrize(
    "text", ["seed: 1\nseed: 2\n", "render:\n  views: 1\n  views: 1\n", "a: [{b: 1, b: 2}]"]
)
def test_a_key_given_twice_is_refused(recipe_file: RecipeFile, text: str):
    with pytest.raises(ConfigError, match="stands twice"):
        read_recipe(recipe_file(text))


def test_merge_keys_work_and_may_be_overridden(recipe_file: RecipeFile):
    path = recipe_file("base: &base {views: 2, samples: 4}\nrender:\n  <<: *base\n  views: 3\n")
    assert read_recipe(path)["render"] == {"views": 3, "samples": 4}


# --set


def test_assignments_reach_into_sections_lists_and_missing_sections():
    settings = {"sources": [{"source": "folder", "options": {"path": "a"}}], "render": {"views": 3}}
    changed = apply_overrides(
        settings, ["sources.0.options.path=b=c", "render.views=12", "captions.options.model=tiny", "seed=7"]
    )
    assert changed["sources"][0]["options"]["path"] == "b=c"
    assert (changed["render"]["views"], changed["seed"]) == (12, 7)
    assert changed["captions"] == {"options": {"model": "tiny"}}


def test_assignments_leave_the_given_settings_alone():
    settings = {"render": {"views": 3}, "sources": [{"source": "folder"}]}
    apply_overrides(settings, ["render.views=12", "sources.0.source=sh3f"])
    assert settings == {"render": {"views": 3}, "sources": [{"source": "folder"}]}


def test_what_yaml_shares_by_an_anchor_is_changed_in_one_place_only(recipe_file: RecipeFile):
    settings = read_recipe(recipe_file("a: &shared {views: 2}\nb: *shared\n"))
    assert apply_overrides(settings, ["a.views=3"]) == {"a": {"views": 3}, "b": {"views": 2}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("null", None), ("", None), ("[1, 2]", [1, 2]), ("1e-3", "1e-3"), ("#1a2b3c", "#1a2b3c")],
)
def test_values_are_yaml_but_a_colour_is_no_comment(text: str, value: object):
    assert apply_overrides({}, [f"render.background={text}"]) == {"render": {"background": value}}


@pytest.mark.parametrize(
    "override",
    [
        "a",
        "=3",
        "sources.1.source=folder",
        "sources.x=1",
        "name.a=1",
        "name.a.b.c=1",
        "seed=[1",
        "seed=a: b: c",
    ],
)
def test_an_impossible_assignment_is_named(override: str):
    with pytest.raises(ConfigError) as caught:
        apply_overrides({"sources": [{}], "name": "n"}, [override])
    (problem,) = caught.value.problems
    assert problem.startswith(f"--set {override}: ")


def test_all_impossible_assignments_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        apply_overrides({}, ["a", "seed=3", "b"])
    assert len(caught.value.problems) == 2


def test_a_date_is_refused_by_validation_and_does_not_break_the_overrides(recipe_file: RecipeFile):
    settings = apply_overrides(read_recipe(recipe_file("name: 2024-01-01\n")), ["seed=1"])
    with pytest.raises(ConfigError, match="name: Input should be a valid string"):
        build(settings)


# validation


def problems_of(settings: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        build(settings)
    return caught.value.problems


def test_an_unknown_key_names_the_nearest_valid_one_at_any_depth():
    problems = problems_of({"rendr": {}, "render": {"backend": "fake", "camera": {"lensmm": 3}}})
    assert any(line.startswith("rendr: unknown key; did you mean 'render'?") for line in problems)
    assert any(
        line.startswith("render.camera.lensmm: unknown key; did you mean 'lens_mm'?") for line in problems
    )


def test_every_problem_is_reported_at_once_including_plugin_options():
    problems = problems_of(
        {
            "seed": -1,
            "sources": [
                {"source": "folder", "options": {"path": "x", "lables": "y"}},
                {"source": "foldr"},
                {"source": "sh3f", "options": {"selection": "everything"}},
            ],
            "render": {"backend": "fake", "views": 0, "options": {"fial": {}}},
        }
    )
    locations = sorted(line.partition(":")[0] for line in problems)
    assert locations == [
        "render.options.fial",
        "render.views",
        "seed",
        "sources.0.options.lables",
        "sources.1",
        "sources.2.options.selection",
    ]
    assert any("did you mean 'labels'?" in line for line in problems)
    assert any(re.search(r"did you mean 'folder'\? \(valid: .*folder, .*sh3f\)", line) for line in problems)
    assert any("did you mean 'fail'?" in line for line in problems)


def test_a_problem_is_told_in_the_words_of_the_setting():
    assert problems_of({"render": {"background": "white"}}) == (
        "render.background: a colour is # and six hex digits, such as #808080 (got 'white')",
    )


def test_a_missing_required_option_is_a_problem_of_its_source():
    assert problems_of({"sources": [{"source": "folder"}]}) == (
        "sources.0.options.path: Field required (got {})",
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"render": 5},
        {"render": None},
        {"sources": {"source": "folder"}},
        {"sources": [None, "folder", 3]},
        {"sources": [{"options": {}}]},
        {"sources": [{"source": "folder", "options": None}]},
        {"sources": [{"source": ["folder"]}]},
        {"sources": [{"source": "../folder"}]},
        {"render": {"backend": None}},
        {"render": {"options": [1]}},
        {1: 2},
    ],
)
def test_settings_of_the_wrong_shape_are_problems_and_never_a_traceback(settings: dict[str, Any]):
    assert problems_of(settings)


def test_options_become_their_plugins_own_model():
    config = build(
        {"sources": [{"source": "folder", "options": {"path": "x"}}], "render": {"backend": "fake"}}
    )
    assert type(config.sources[0].options) is plugins.options_model("mvcap.sources", "folder")
    assert type(config.render.options) is plugins.options_model("render.backends", "fake")


def test_what_is_saved_reads_back_as_the_same_configuration():
    config = build(
        {"sources": [{"source": "folder", "options": {"path": "x"}}], "render": {"backend": "fake"}}
    )
    assert build(config.model_dump(mode="json")) == config


def test_another_backend_does_not_inherit_the_old_ones_options():
    settings = {"captions": {"backend": "instructblip", "options": {"num_beams": 3}}}
    changed = apply_overrides(settings, ["captions.options.image_seconds=1", "captions.backend=fake"])
    assert changed == {"captions": {"backend": "fake", "options": {"image_seconds": 1}}}
    same = apply_overrides(settings, ["captions.backend=instructblip"])
    assert same == settings
