"""The simulation, on cases that one can work out by hand."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

model = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("simulated_cluster.py"))))
FAST_STORE = 1e30


def cluster(renderers=1, captioners=1, store_bytes_per_s=FAST_STORE, driver_s=0.0):
    return model.Cluster(renderers, captioners, store_bytes_per_s, driver_s)


def work(shards, render_s=0.0, caption_s=0.0, shard_bytes=0.0):
    return model.Work(shards, render_s, caption_s, shard_bytes)


@pytest.mark.parametrize(
    ("there", "to_do", "seconds", "bottleneck"),
    [
        # one after another through two stages: all at the slower one, and once at the other
        (cluster(), work(10, render_s=5, caption_s=3), 10 * 5 + 3, "renderers"),
        (cluster(), work(10, render_s=3, caption_s=5), 3 + 10 * 5, "captioners"),
        # four shards on two renderers are two rounds
        (cluster(renderers=2), work(4, render_s=5, caption_s=1), 5 + 5 + 1 + 1, "renderers"),
        # five need a third round
        (cluster(renderers=2, captioners=9), work(5, render_s=5), 15, "renderers"),
        # the store moves each shard three times
        (cluster(9, 9, store_bytes_per_s=100), work(6, shard_bytes=50), 6 * 3 * 0.5, "store"),
        # the driver sees each shard, whoever else has time
        (cluster(9, 9, driver_s=0.2), work(50), 50 * 0.2, "driver"),
        # three shards cannot keep ten renderers busy
        (cluster(renderers=10, captioners=10), work(3, render_s=7, caption_s=2), 9, "too few shards"),
    ],
)
def test_cases_with_known_answers(there, to_do, seconds, bottleneck):
    outcome = model.simulate(there, to_do)
    assert outcome.seconds == pytest.approx(seconds)
    assert outcome.bottleneck == bottleneck
    assert outcome.remedy


def test_a_renderer_is_held_while_its_views_are_written():
    outcome = model.simulate(cluster(store_bytes_per_s=10), work(4, render_s=5, shard_bytes=10))
    # each occupies the renderer for 5 + 1 s; the last one is then read and written again
    assert outcome.seconds == pytest.approx(4 * 6 + 2)
    assert outcome.shares["renderers"] == pytest.approx(4 * 5 / 26)
    assert outcome.shares["store"] == pytest.approx(4 * 3 / 26)


@pytest.mark.parametrize("renderers", [1, 3, 7, 40])
def test_no_cluster_is_faster_than_any_of_its_parts(renderers):
    there, to_do = cluster(renderers, 2, 1e6, 0.01), work(30, 11.0, 0.7, 1e5)
    outcome = model.simulate(there, to_do)
    bounds = [30 * 11 / min(renderers, 30), 30 * 0.7 / 2, 30 * 3 * 0.1, 30 * 0.01]
    assert outcome.seconds >= max(bounds)
    assert outcome.seconds <= sum(bounds) + 11 + 0.7 + 0.3
    assert all(0 <= share <= 1 for share in outcome.shares.values())
