"""What is killed, when and how often is drawn from a seed: the same command ends with the same dataset.

Five seeds, `make soak` has more; `MVCAP_KILL_SEED=N pytest tests/e2e/test_seeded_kills.py` does one alone.
"""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import psutil
import pytest

pytestmark = pytest.mark.slow

DONE, KILLED = 0, -9
CHILD = Path(__file__).parents[1] / "render" / "doubles" / "puppet_child.py"
VIEW_S = 0.01
"""That a picture takes: enough for a child to be met at work."""
NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e", "lamps/f")
SETTINGS = (
    *("render.backend=blender", "render.views=4", "render.resolution=32", "render.max_bad_views=1"),
    *("captions.backend=fake", "captions.synonyms=table", "plan.objects_per_shard=2"),
    *("plan.splits={train: 1.0}", "run.render_workers=1", "run.caption_workers=1"),
)
SEEDS = (
    [int(os.environ["MVCAP_KILL_SEED"])]
    if "MVCAP_KILL_SEED" in os.environ
    else range(60 if os.environ.get("MVCAP_SOAK") else 5)
)


class Kill(NamedTuple):
    """What happens to a run."""

    victim: Literal["driver at a step", "driver at a moment", "child"]
    step: str
    """The point a driver does not get over, its name and which passing."""
    passed: int
    """Steps passed before a driver, or a child, is killed from outside."""
    number: signal.Signals
    """What a child gets."""


def draw_kills(seed: int, passed: Counter[str]) -> list[Kill]:
    """Draw what happens to the first, second ... run of a command.

    Args:
        passed: how often an undisturbed run passes each step.
    """
    rng = np.random.default_rng(seed)
    points = sorted(passed)
    kills = []
    for _ in range(rng.integers(1, 4)):
        point = points[rng.integers(len(points))]
        kills.append(
            Kill(
                ("driver at a step", "driver at a moment", "child")[rng.integers(3)],
                f"{point}:{rng.integers(1, passed[point], endpoint=True)}",
                int(rng.integers(passed.total())),
                (signal.SIGKILL, signal.SIGSEGV)[rng.integers(2)],
            )
        )
    return kills


class Scenario:
    """A build with real children, and an undisturbed run of it."""

    def __init__(self, run: Any, folder: Path, models: Path) -> None:
        self._run = run
        self._models = models
        self._blender = folder / "blender"
        self._blender.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{CHILD}" "$@"\n')
        self._blender.chmod(0o755)
        self.undisturbed = folder / "undisturbed"
        trace = folder / "undisturbed.trace"
        driver = self.start(self.undisturbed, trace=trace)
        assert driver.wait() == DONE, driver.said
        self.passed = Counter(trace.read_text().split())

    def start(self, out: Path, **more: Any) -> Any:
        settings = (*SETTINGS, f"render.blender={self._blender}")
        changes = [part for setting in settings for part in ("--set", setting)]
        arguments = ("build-all", "--models", self._models, "--out", out, "--runner", "local", *changes)
        return self._run.start(*arguments, MVCAP_PUPPET_VIEW_S=str(VIEW_S), **more)

    def run(self, out: Path, kill: Kill, trace: Path) -> int:
        """Run the command, do to it what was drawn, and return its exit code."""
        if kill.victim == "driver at a step":
            return int(self.start(out, MVCAP_FAULT=kill.step).wait())
        trace.touch()
        driver = self.start(out, trace=trace)
        while driver.poll() is None and len(trace.read_text().split()) < kill.passed:
            time.sleep(0.001)
        if kill.victim == "driver at a moment":
            driver.send_signal(signal.SIGKILL)
        else:
            kill_child(driver.pid, kill.number)
        return int(driver.wait())


def kill_child(driver: int, number: int) -> None:
    """Send a signal to a driver's Blender, if it has one by now."""
    with suppress(psutil.Error):  # it may end at this moment
        for process in psutil.Process(driver).children(recursive=True):
            if str(CHILD) in process.cmdline():
                process.send_signal(number)


@pytest.fixture(scope="module")
def scenario(
    drivers: Any, tmp_path_factory: pytest.TempPathFactory, write_models: Callable[..., Path]
) -> Scenario:
    folder = tmp_path_factory.mktemp("seeded")
    return Scenario(drivers, folder, write_models(folder / "models", *NAMES))


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_killed_the_same_command_ends_with_the_same_dataset(
    scenario, drivers, tmp_path, assert_equal_datasets, seed
):
    out, kills = tmp_path / "out", draw_kills(seed, scenario.passed)
    told = f"seed {seed}: {kills}"
    for index, kill in enumerate(kills):
        code = scenario.run(out, kill, tmp_path / f"{index}.trace")
        assert code in ((DONE,) if kill.victim == "child" else (DONE, KILLED)), (told, drivers.said)
    last = scenario.start(out)
    assert last.wait() == DONE, (told, last.said)
    assert_equal_datasets(out, scenario.undisturbed, told)


def test_seeds_draw_every_victim_and_different_steps(scenario):
    kills = [kill for seed in range(30) for kill in draw_kills(seed, scenario.passed)]
    assert {kill.victim for kill in kills} == {"driver at a step", "driver at a moment", "child"}
    assert len({kill.step for kill in kills}) > 20
    assert draw_kills(3, scenario.passed) == draw_kills(3, scenario.passed)
