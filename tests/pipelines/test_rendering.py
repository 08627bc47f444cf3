"""The render stage says what each of its workers needs."""

import pytest

from mvcap.commits import RENDER
from mvcap.config import Config
from pipelines.placement import place
from pipelines.rendering import render_settings, render_stage
from pipelines.runners import ray_nodes


def stage(**run):
    return render_stage(Config.model_validate({"run": run}), "settings")


@pytest.mark.parametrize(
    ("run", "has", "on_each"),
    [
        ({}, {"CPU": 8.0, "GPU": 2.0}, 8),
        ({"children_per_gpu": 4}, {"CPU": 64.0, "GPU": 2.0}, 8),
        ({"children_per_gpu": 1}, {"CPU": 64.0, "GPU": 2.0}, 2),
        ({"children_per_gpu": 4}, {"CPU": 8.0}, 0),
        ({"render_resources": {"cpus": 4}}, {"CPU": 8.0}, 2),
        ({"render_resources": {"memory_gb": 3}}, {"CPU": 8.0, "memory": 9e9}, 3),
        ({"render_resources": {"custom": {"renders": 1}}}, {"CPU": 8.0}, 0),
        ({"render_resources": {"custom": {"renders": 1}}}, {"CPU": 8.0, "renders": 5}, 5),
    ],
)
def test_renderers_reserve_what_is_configured_and_fill_their_nodes(run, has, on_each):
    nodes = {"a": ray_nodes.Node("a", "a", has), "b": ray_nodes.Node("b", "b", has)}
    placed = place([ray_nodes.demand_of(stage(**run), nodes)], {"a": has, "b": has})[RENDER]
    assert placed.on == ({"a": on_each, "b": on_each} if on_each else {})


def test_the_numbers_behind_a_presets_name_are_part_of_the_settings():
    by_name = {
        name: render_settings(Config.model_validate({"render": {"preset": name}}))
        for name in ("fast", "physical")
    }
    assert by_name["fast"]["sampling.shading"] == "painted"
    assert by_name["physical"]["sampling.efforts"] != by_name["fast"]["sampling.efforts"]
    fixed = render_settings(Config.model_validate({"render": {"samples": 5}}))
    assert [effort["samples"] for effort in fixed["sampling.efforts"]] == [5]
