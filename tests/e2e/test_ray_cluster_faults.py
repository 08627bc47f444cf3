"""Whatever happens to a cluster under a build: no row is lost, none is there twice, all are equal."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

pytest.importorskip("ray")

DONE, USAGE, FAILED, KILLED = 0, 2, 1, -9
AGAIN = "it will be done again"
NAMES = [f"things/{index}" for index in range(8)]
SETTINGS = (
    *("render.backend=fake", "render.views=2", "render.resolution=32", "captions.backend=fake"),
    *("captions.synonyms=table", "plan.objects_per_shard=1", "plan.splits={train: 1.0}"),
)
SLOWLY = ("render.options.view_seconds=0.5", "captions.options.image_seconds=0.25")
QUICKLY = ("render.options.view_seconds=0", "captions.options.image_seconds=0")
SEEDS = (
    [int(os.environ["MVCAP_KILL_SEED"])]
    if "MVCAP_KILL_SEED" in os.environ
    else range(30)
    if os.environ.get("MVCAP_SOAK")
    else []  # each takes a minute: tests/e2e/test_seeded_kills.py draws what is cheaper to kill
)


class Builds:
    """The same build, on clusters or without."""

    def __init__(self, drivers: Any, ray_drivers: Any, folder: Path, models: Path) -> None:
        self._drivers = drivers
        self._ray_drivers = ray_drivers
        self._models = models
        self.undisturbed = folder / "undisturbed"
        assert self.locally(self.undisturbed) == DONE, drivers.said

    @property
    def said(self) -> str:
        """What the last command without a cluster printed."""
        return str(self._drivers.said)

    def locally(self, out: Path) -> int:
        return int(self._drivers(*self._command(out), "--runner", "local"))

    def start(self, out: Path, address: str, *changes: str, **environment: str) -> Any:
        return self._ray_drivers.start(
            *self._command(out, *SLOWLY, *changes), "--address", address, **environment
        )

    def _command(self, out: Path, *changes: str) -> list[object]:
        settings = [part for setting in (*SETTINGS, *changes) for part in ("--set", setting)]
        return ["build-all", "--models", self._models, "--out", out, *settings]


@pytest.fixture(scope="module")
def builds(
    drivers: Any,
    ray_drivers: Any,
    tmp_path_factory: pytest.TempPathFactory,
    write_models: Callable[..., Path],
) -> Builds:
    folder = tmp_path_factory.mktemp("faults")
    return Builds(drivers, ray_drivers, folder, write_models(folder / "models", *NAMES))


@pytest.fixture(scope="module")
def nodes(ray_clusters: Any) -> Iterator[Any]:
    with ray_clusters.start() as nodes:
        yield nodes


@pytest.fixture
def out(tmp_path: Path, builds: Builds, assert_equal_datasets: Callable[..., None]) -> Iterator[Path]:
    """A dataset that equals an undisturbed one when the test is over; lost workers' leftovers go before."""
    yield tmp_path / "out"
    assert builds.locally(tmp_path / "out") == DONE, builds.said
    assert_equal_datasets(tmp_path / "out", builds.undisturbed)


def test_nodes_may_leave_and_one_that_joins_does_the_rest(nodes, builds, out, ray_clusters):
    killed, leaving = nodes.have(2)
    driver = builds.start(out, nodes.address, "render.options.view_seconds=1.5")
    ray_clusters.wait_until(lambda: ray_clusters.at_work(killed), driver)
    nodes.remove(killed, gracefully=False)
    ray_clusters.wait_until(lambda: ray_clusters.at_work(leaving), driver)
    nodes.remove(leaving)
    assert ray_clusters.commits(out, "caption") < len(NAMES)
    nodes.add()
    assert driver.wait() == DONE, driver.said
    assert AGAIN in driver.said


def test_workers_may_be_killed(nodes, builds, out, ray_clusters):
    both = nodes.have(2)
    driver = builds.start(out, nodes.address)
    for losses, number in enumerate((signal.SIGSEGV, signal.SIGKILL), 1):
        ray_clusters.wait_until(partial(ray_clusters.end_worker, *both, number=number), driver)
        ray_clusters.wait_until(lambda losses=losses: driver.said.count(AGAIN) == losses, driver)
    assert driver.wait() == DONE, driver.said


@pytest.mark.parametrize("fault", ["", "finish.objects:1"])
def test_a_killed_driver_of_a_cluster_goes_on_at_once(nodes, builds, out, ray_clusters, fault):
    """Without a fault point it dies in mid-shard; its workers may still write while the next one starts."""
    nodes.have(2)
    driver = builds.start(out, nodes.address, **({"MVCAP_FAULT": fault} if fault else {}))
    if not fault:
        ray_clusters.wait_until(lambda: ray_clusters.commits(out, "caption"), driver)
        driver.send_signal(signal.SIGKILL)
    assert driver.wait() == KILLED
    again = builds.start(out, nodes.address, *QUICKLY)
    assert again.wait() == DONE, again.said


def test_each_stage_works_on_the_nodes_that_have_what_it_asks_for(nodes, builds, out, ray_clusters):
    """A node without the resource gets no such work, although it has CPUs to spare."""
    nodes.have(0)
    places = {
        "cpus": nodes.add(num_cpus=2, resources={"renders": 1}),
        "gpus": nodes.add(num_cpus=2, num_gpus=1, resources={"captions": 1}),
    }
    driver = builds.start(
        out,
        nodes.address,
        "run.render_resources.custom={renders: 1}",
        "run.caption_resources={cpus: 1, memory_gb: 0.1, custom: {captions: 1}}",
    )
    seen = set()
    while driver.poll() is None:
        for name, node in places.items():
            working = [process.pid for process in ray_clusters.at_work(node)]
            stages = ray_clusters.stages_of(out)
            seen |= {(name, stages[pid]) for pid in working if pid in stages}
    assert driver.wait() == DONE, driver.said
    assert seen == {("cpus", "render"), ("gpus", "caption")}


@pytest.mark.skipif(os.geteuid() != 0, reason="hides a folder from a node, which only root may")
def test_a_node_that_lacks_something_gets_no_work_and_is_named_with_the_remedy(
    nodes, builds, out, tmp_path, ray_clusters, start_ray
):
    """One that joins is left out, although it alone has room; one that is there at the start is refused."""
    nodes.have(0)
    nodes.add()
    driver = builds.start(out, nodes.address, "run.render_resources.custom={renders: 1}")
    hiding = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {tmp_path} && exec "$@"', "sh")
    joining = ("start", f"--address={nodes.address}", "--num-cpus=1", '--resources={"renders": 1}', "--block")
    ray_clusters.wait_until(lambda: "waiting for one" in driver.said, driver)
    start_ray(*joining, before=hiding)
    ray_clusters.wait_until(lambda: "has joined and gets no work" in driver.said, driver)
    assert not ray_clusters.commits(out)
    nodes.add(resources={"renders": 1})
    assert driver.wait() == DONE, driver.said

    refused = builds.start(tmp_path / "refused", nodes.address)
    assert refused.wait() == USAGE
    assert "1 of the cluster's 3 nodes cannot take part" in refused.said
    assert f"does not see what the driver writes to {tmp_path / 'refused'}" in refused.said
    assert "every node mounts under the same path" in refused.said
    assert not ray_clusters.commits(tmp_path / "refused")


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_a_seed_kills_on_a_cluster_nothing_is_lost(nodes, builds, out, ray_clusters, seed):
    """Workers, nodes and drivers, each once a drawn number of commits is there."""
    rng = np.random.default_rng(seed)
    moments = sorted(rng.integers(1, 2 * len(NAMES), size=3).tolist())
    kills = [(moment, ("worker", "node", "driver")[rng.integers(3)]) for moment in moments]
    print(f"MVCAP_KILL_SEED={seed} kills {kills}")
    nodes.have(2)
    driver = builds.start(out, nodes.address)
    for moment, victim in kills:
        ray_clusters.wait_until(lambda moment=moment: ray_clusters.commits(out, "*") >= moment, driver)
        if victim == "driver":
            driver.send_signal(signal.SIGKILL)
            assert driver.wait() in (DONE, KILLED), driver.said
            driver = builds.start(out, nodes.address)
        elif victim == "node":
            nodes.remove(nodes.workers[rng.integers(2)], gracefully=False)
            nodes.add()
        else:
            ray_clusters.end_worker(*nodes.workers)  # unless all are between two shards
    assert driver.wait() == DONE, driver.said


def test_a_lost_head_ends_the_driver_and_the_same_command_finishes_on_a_new_cluster(
    builds, out, ray_clusters
):
    with ray_clusters.start() as lost:
        lost.add()
        driver = builds.start(out, lost.address)
        ray_clusters.wait_until(lambda: ray_clusters.commits(out), driver)
        lost.lose_head()
        assert driver.wait() == FAILED
    assert driver.said.splitlines()[-1].startswith("error: lost Ray's head at ")
    assert "start the cluster again, then the same command goes on" in driver.said
    assert ray_clusters.commits(out) < len(NAMES)
    with ray_clusters.start() as new:
        new.add()
        again = builds.start(out, new.address, *QUICKLY)
        assert again.wait() == DONE, again.said
