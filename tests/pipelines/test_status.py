"""A status never calls done what is not."""

import pytest

from mvcap import commits
from pipelines import captioning
from pipelines.build_all import Request, build
from pipelines.runners.local import LocalRunner
from pipelines.status import dataset_status, describe

NAMES = ("chairs/a", "chairs/b", "cups/c")


def run(config, out, **request):
    return build(config, Request(out, **request), LocalRunner(drop_views=False), lambda _: None)


@pytest.fixture
def rendered(models, fake_config, tmp_path):
    config, out = fake_config(models(*NAMES)), tmp_path / "out"
    return config, out, run(config, out, caption=False)


def test_null_captions_are_not_counted_as_captioned(rendered):
    config, out, outcome = rendered
    assert (outcome.views, outcome.uncaptioned) == (9, 9)
    state = dataset_status(out)
    assert (state["complete"], state["uncaptioned_views"]) == (False, 9)
    assert (state["stages"]["caption"]["shards_done"], state["stages"]["caption"]["views"]) == (0, 0)
    assert "9 views" in describe(state)
    assert "complete" not in describe(state)
    assert "The views have no captions yet" in (out / "README.md").read_text()
    run(config, out, render=False, part=(0, 2))
    assert dataset_status(out)["stages"]["caption"]["shards_done"] == 1
    run(config, out, render=False)
    assert (dataset_status(out)["complete"], dataset_status(out)["uncaptioned_views"]) == (True, 0)


def test_a_half_finished_recaption_is_not_complete(rendered, models, fake_config):
    config, out, _ = rendered
    run(config, out, render=False)
    card = (out / "README.md").read_bytes()
    other = fake_config(models(*NAMES), captions__prompt="'A picture that is a {category}.'")
    assert not run(other, out, render=False, recaption=True, part=(0, 2)).complete
    assert not dataset_status(out)["complete"]
    assert (out / "README.md").read_bytes() == card
    assert run(other, out, render=False, recaption=True, part=(1, 2)).complete
    assert dataset_status(out)["complete"]
    assert "A picture that is a {category}." in (out / "README.md").read_text()


def test_the_commits_and_the_stage_mean_the_same_by_null_captions():
    assert commits.UNCAPTIONED == captioning.UNCAPTIONED == captioning.uncaptioned_stage().settings
