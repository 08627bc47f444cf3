"""A driver may be killed at every step of every commit: the same command ends with the same dataset."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mvcap import fault_points
from mvcap.files import TEMPORARY

pytestmark = pytest.mark.slow

KILLED, PARTIAL = -9, 3
EVERY_FILE = "staged.renamed"
"""The step at which each passing counts; of the others, the first, the middle and the last one do."""
ROOMS = ("mvcap", "pipelines", "render", "captions")
NAMES = ("chairs/a", "chairs/b", "cups/c", "cups/d", "lamps/e")
SETTINGS = (
    *("render.backend=fake", "render.views=2", "render.resolution=32", "captions.backend=fake"),
    *("captions.synonyms=table", "plan.objects_per_shard=2", "plan.splits={train: 1.0}"),
    "render.options.fail={cups/c: crash}",
    "render.options.like={chairs/b: box, lamps/e: box}",  # so that shards get a second generation
    *("run.render_workers=1", "run.caption_workers=1"),
)


class Drives:
    """Commands over one folder of models, and what an undisturbed run of them makes of it."""

    def __init__(self, run: Any, folder: Path, models: Path) -> None:
        self.run = run
        self.folder = folder
        self._models = models

    def build(self, out: Path, **more: object) -> int:
        changes = [part for setting in SETTINGS for part in ("--set", setting)]
        return self.run(
            "build-all", "--models", self._models, "--out", out, "--runner", "local", *changes, **more
        )

    def break_shard(self, out: Path) -> None:
        """Flip a byte of a picture, which `verify` alone notices."""
        victim = min((out / "data").glob("*.parquet"))
        content = bytearray(victim.read_bytes())
        content[len(content) // 3] ^= 1
        victim.write_bytes(content)


@pytest.fixture(scope="module")
def drives(
    drivers: Any, tmp_path_factory: pytest.TempPathFactory, write_models: Callable[..., Path]
) -> Drives:
    folder = tmp_path_factory.mktemp("kills")
    return Drives(drivers, folder, write_models(folder / "models", *NAMES))


@pytest.fixture(scope="module")
def passed(drives: Drives) -> dict[str, Counter[str]]:
    """Count the steps of an undisturbed build, and of a `verify` that finds a broken shard."""
    out, traces = drives.folder / "undisturbed", {}
    traces["build"] = drives.folder / "build.trace"
    assert drives.build(out, trace=traces["build"]) == PARTIAL
    traces["verify"] = drives.folder / "verify.trace"
    verified = drives.folder / "verified"
    assert drives.build(verified) == PARTIAL
    drives.break_shard(verified)
    assert drives.run("verify", verified, trace=traces["verify"]) == 1
    return {command: Counter(trace.read_text().split()) for command, trace in traces.items()}


def test_the_scenario_has_failures_duplicates_and_several_shards(drives, passed):
    rows = pq.read_table(drives.folder / "undisturbed/objects.parquet").to_pylist()
    assert sum(row["status"] == "failed" for row in rows) == 1
    assert sum(row["duplicate_of"] is not None for row in rows) == 1
    assert len({row["shard"] for row in rows}) == 3


def test_every_step_is_named_in_the_code_once_and_passed_by_the_scenario(passed):
    root = Path(fault_points.__file__).parents[1]
    source = "".join(path.read_text() for room in ROOMS for path in (root / room).rglob("*.py"))
    named = Counter(re.findall(r"fault_points\.passing\(\"(.+?)\"\)", source))
    assert named == Counter(fault_points.POINTS)
    assert set(passed["build"] + passed["verify"]) == set(fault_points.POINTS)


def passings(point: str, total: int) -> Iterable[int]:
    """Choose which passings of a step are tried: all of them in `make soak`."""
    if point == EVERY_FILE or os.environ.get("MVCAP_SOAK"):
        return range(1, total + 1)
    return sorted({1, (total + 1) // 2, total}) if total else ()


@pytest.mark.parametrize("point", fault_points.POINTS)
def test_a_driver_killed_at_any_step_leaves_what_the_same_command_completes(
    drives, passed, point, tmp_path, assert_equal_datasets
):
    for count in passings(point, passed["build"][point]):
        out, fault = tmp_path / str(count), f"{point}:{count}"
        assert drives.build(out, MVCAP_FAULT=fault) == KILLED, drives.run.said
        assert drives.build(out) == PARTIAL, (fault, drives.run.said)
        assert_equal_datasets(out, drives.folder / "undisturbed", fault)


@pytest.mark.parametrize("point", fault_points.POINTS)
def test_a_verify_killed_at_any_step_leaves_what_a_build_completes(
    drives, passed, point, tmp_path, assert_equal_datasets
):
    for count in passings(point, passed["verify"][point]):
        out, fault = tmp_path / str(count), f"{point}:{count}"
        assert drives.build(out) == PARTIAL
        drives.break_shard(out)
        assert drives.run("verify", out, MVCAP_FAULT=fault) == KILLED, drives.run.said
        drives.run("verify", out)
        assert drives.build(out) == PARTIAL, (fault, drives.run.said)
        for path in (out / "_mvcap/broken").glob(f"{TEMPORARY}*"):
            path.unlink()  # kept for whoever wants to know what happened
        assert_equal_datasets(out, drives.folder / "undisturbed", fault)


MERGE_STEPS = ("plan.objects", "plan.written", "shard.written", "shard.recorded", "finish.labelled")


@pytest.fixture(scope="module")
def parts(drives: Drives, write_models: Callable[..., Path]) -> list[Path]:
    """Two datasets of three shards each, of which one has failures and near-duplicates."""
    other = Drives(drives.run, drives.folder, write_models(drives.folder / "more", "x/f", "x/g", "y/h"))
    outs = [drives.folder / name for name in ("first", "second", "joined")]
    assert drives.build(outs[0]) == PARTIAL
    assert other.build(outs[1]) == 0
    assert drives.run("merge", *outs[:2], "--out", outs[2]) == PARTIAL
    return outs


@pytest.mark.parametrize("point", MERGE_STEPS)
def test_a_merge_killed_at_any_step_is_completed_by_the_same_command(
    drives, parts, point, tmp_path, assert_equal_datasets
):
    *merged, joined = parts
    out, fault = tmp_path / "out", f"{point}:{3 if point.startswith('shard.') else 1}"
    assert drives.run("merge", *merged, "--out", out, MVCAP_FAULT=fault) == KILLED, drives.run.said
    assert drives.run("merge", *merged, "--out", out) == PARTIAL, (fault, drives.run.said)
    assert_equal_datasets(out, joined, fault)


def test_a_step_that_does_not_exist_is_refused(drives, tmp_path):
    assert drives.build(tmp_path / "out", MVCAP_FAULT="shard.eaten:1") != 0
    assert "shard.eaten:1" in drives.run.said
