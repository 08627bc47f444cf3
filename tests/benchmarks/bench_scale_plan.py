"""50,000 objects x 100 views on 1 to 1,000 nodes, in virtual time: what limits the build, and what to change.

    .venv/bin/pytest -s tests/benchmarks/bench_scale_plan.py

The service times are measured where it says so (`pipelines/rates.py`, `bench_driver_memory.py`), and assumed
where nobody could measure; each can be set by the variable that stands beside it.
"""

import os
import runpy
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipelines import rates

OBJECTS, VIEWS = 50_000, 100
NODES = (1, 3, 10, 30, 100, 300, 1000)
RESOLUTION = 224

model: Any = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("simulated_cluster.py"))))


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run is made of."""

    preset: str = os.environ.get("BENCH_PRESETS", "fast").split()[0]
    cpus_per_node: int = int(os.environ.get("BENCH_CPUS", "16"))
    gpus_per_node: float = float(os.environ.get("BENCH_GPUS", "1"))
    captions_per_s: float = float(os.environ.get("BENCH_CAPTIONS_PER_S", "20"))
    """Of one GPU."""
    store_gb_per_s: float = float(os.environ.get("BENCH_STORE_GB_PER_S", "2"))
    driver_ms: float = float(os.environ.get("BENCH_DRIVER_MS", "7"))
    """CPU time of the driver for a shard."""
    objects_per_shard: int = 32

    def sources(self) -> str:
        rate = rates.rendering_rate(self.preset, RESOLUTION)
        assert rate
        lines = (
            f"an object {rate.per_object_s:g} s and a view {rate.per_view_s:g} s of a core, measured:",
            f"  {rate.basis}",
            f"a stored view {self.view_bytes():.0f} bytes, measured by the same",
            f"a shard {self.driver_ms:g} ms of the driver, measured: bench_driver_memory.py; BENCH_DRIVER_MS",
            f"a GPU {self.captions_per_s:g} captions/s, assumed: BENCH_CAPTIONS_PER_S",
            f"the store {self.store_gb_per_s:g} GB/s for all nodes, assumed: BENCH_STORE_GB_PER_S",
            f"a node {self.cpus_per_node} CPUs, {self.gpus_per_node:g} GPUs, chosen: BENCH_CPUS, BENCH_GPUS",
        )
        return "\n".join(lines)

    def view_bytes(self) -> float:
        size = rates.bytes_per_view(self.preset, RESOLUTION)
        assert size
        return size

    def simulate(self, nodes: int) -> Any:
        rate = rates.rendering_rate(self.preset, RESOLUTION)
        assert rate
        cluster = model.Cluster(
            renderers=nodes * self.cpus_per_node,
            captioners=max(round(nodes * self.gpus_per_node), 1),
            store_bytes_per_s=self.store_gb_per_s * 1e9,
            driver_s=self.driver_ms / 1e3,
        )
        size = self.objects_per_shard
        work = model.Work(
            shards=-(-OBJECTS // size),
            render_s=size * (rate.per_object_s + VIEWS * rate.per_view_s),
            caption_s=size * VIEWS / self.captions_per_s,
            shard_bytes=size * VIEWS * self.view_bytes(),
        )
        return model.simulate(cluster, work)


def table(setup: Setup) -> str:
    shares = f"{'render':>9}{'caption':>9}{'store':>7}{'driver':>8}"
    lines = [f"{'nodes':>6}{'hours':>9}{'views/s':>10}{shares}  limited by"]
    for nodes in NODES:
        outcome = setup.simulate(nodes)
        share = outcome.shares
        lines.append(
            f"{nodes:6}{outcome.seconds / 3600:9.2f}{OBJECTS * VIEWS / outcome.seconds:10.0f}"
            f"{share['renderers']:9.0%}{share['captioners']:9.0%}{share['store']:7.0%}{share['driver']:8.1%}"
            f"  {outcome.bottleneck} ({outcome.remedy})"
        )
    return "\n".join(lines)


def test_what_limits_a_large_build():
    setup = Setup()
    print(f"\n{OBJECTS:,} objects x {VIEWS} views, {setup.preset} at {RESOLUTION} px, shards of 32 objects\n")
    print(setup.sources(), table(setup), sep="\n\n")
    faster = replace(setup, captions_per_s=10 * setup.captions_per_s)
    print(f"\ncaptions ten times as fast ({faster.captions_per_s:g}/s a GPU)\n{table(faster)}")
    smaller = replace(faster, objects_per_shard=4)
    print(f"\nand shards of 4 objects\n{table(smaller)}")
    between = replace(faster, objects_per_shard=8)
    print(f"\nor of 8 objects\n{table(between)}")
    assert smaller.simulate(1000).seconds < faster.simulate(1000).seconds
