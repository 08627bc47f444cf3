"""The render stage says what each of its workers needs."""

import pytest

from mvcap.config import Config
from pipelines.rendering import render_settings, render_stage
from pipelines.runners import ray_nodes


def stage(**run):
    return render_stage(Config.model_validate({"run": run}), "settings")


@pytest.mark.parametrize(
    ("run", "cluster", "gpus", "workers"),
    [
        ({}, {"CPU": 8.0, "GPU": 2.0}, 0.0, 8),
        ({"children_per_gpu": 4}, {"CPU": 64.0, "GPU": 2.0}, 0.25, 8),
        ({"children_per_gpu": 1}, {"CPU": 64.0, "GPU": 2.0}, 1.0, 2),
        ({"children_per_gpu": 4}, {"CPU": 8.0}, 0.25, 1),
    ],
)
def test_children_share_gpus_as_configured_and_fill_the_cluster(monkeypatch, run, cluster, gpus, workers):
    monkeypatch.setattr(ray_nodes, "cluster_resources", lambda: cluster)
    assert ray_nodes.gpus_for(stage(**run)) == gpus
    assert ray_nodes.default_workers(stage(**run)) == workers


def test_the_numbers_behind_a_presets_name_are_part_of_the_settings():
    by_name = {
        name: render_settings(Config.model_validate({"render": {"preset": name}}))
        for name in ("fast", "physical")
    }
    assert by_name["fast"]["sampling.shading"] == "painted"
    assert by_name["physical"]["sampling.efforts"] != by_name["fast"]["sampling.efforts"]
    fixed = render_settings(Config.model_validate({"render": {"samples": 5}}))
    assert [effort["samples"] for effort in fixed["sampling.efforts"]] == [5]
