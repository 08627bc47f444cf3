"""A build on a cluster in virtual time: shards queue for renderers, captioners, the store and the driver.

Each shard is handed out by the driver, rendered, written to the store, taken in and handed out again, read,
captioned, written, and taken in. A renderer or captioner is held while its shard is read or written. The
store moves one shard after another at its full speed, the driver works on one after another: both are as fast
in sum as if they shared. What is not modelled: failures, starts, unequal objects, Ray's own limits.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

REMEDIES = {
    "renderers": "more CPUs, or a faster preset",
    "captioners": "more GPUs, or a served model that batches better",
    "store": "more bandwidth, or a lower quality; keep the rendered views on faster disks",
    "driver": "larger shards",
    "too few shards": "smaller shards: plan.objects_per_shard",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What works."""

    renderers: int
    captioners: int
    store_bytes_per_s: float
    """Of all nodes together."""
    driver_s: float
    """For each shard, over its whole life."""


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do."""

    shards: int
    render_s: float
    """For a shard, on one renderer."""
    caption_s: float
    """For a shard, on one captioner."""
    shard_bytes: float
    """Of its views; written, read, and written again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it."""

    seconds: float
    shares: dict[str, float]
    """Of the time that each part spends at its own work, in [0, 1]."""
    bottleneck: str

    @property
    def remedy(self) -> str:
        return REMEDIES[self.bottleneck]


@dataclass(slots=True)
class Station:
    """Servers with one queue: first come, first served."""

    free: int
    queue: deque["Shard"] = field(default_factory=deque)


Shard = Generator[tuple[str, Station | float], None, None]
"""A shard's way: `("take", station)`, `("hold", seconds)`, `("give", station)`."""


def simulate(cluster: Cluster, work: Work) -> Outcome:
    """Run all shards through the cluster, and name what limits it."""
    renderers, captioners = Station(cluster.renderers), Station(cluster.captioners)
    store, driver = Station(1), Station(1)
    transfer_s = work.shard_bytes / cluster.store_bytes_per_s

    def shard() -> Shard:
        yield from served(driver, cluster.driver_s / 2)
        yield "take", renderers
        yield "hold", work.render_s
        yield from served(store, transfer_s)
        yield "give", renderers
        yield from served(driver, cluster.driver_s / 2)
        yield "take", captioners
        yield from served(store, transfer_s)
        yield "hold", work.caption_s
        yield from served(store, transfer_s)
        yield "give", captioners

    seconds = run([shard() for _ in range(work.shards)])
    demands = {
        "renderers": (work.render_s, cluster.renderers),
        "captioners": (work.caption_s, cluster.captioners),
        "store": (3 * transfer_s, 1),
        "driver": (cluster.driver_s, 1),
    }
    shares = {
        name: work.shards * each_s / (servers * seconds) if seconds else 0.0
        for name, (each_s, servers) in demands.items()
    }
    return Outcome(seconds, shares, bottleneck(demands, work.shards))


def bottleneck(demands: dict[str, tuple[float, int]], shards: int) -> str:
    """Name the part that would need longest, had it the shards to itself."""
    bounds = {name: each_s * shards / min(servers, shards) for name, (each_s, servers) in demands.items()}
    slowest = max(bounds, key=lambda name: bounds[name])
    return "too few shards" if demands[slowest][1] > shards else slowest


def served(station: Station, seconds: float) -> Iterator[tuple[str, Station | float]]:
    yield "take", station
    yield "hold", seconds
    yield "give", station


def run(shards: list[Shard]) -> float:
    """Advance all shards through virtual time, and return when the last one is done."""
    order = itertools.count()
    events = [(0.0, next(order), shard) for shard in shards]
    now = 0.0
    while events:
        now, _, shard = heapq.heappop(events)
        for action, what in shard:
            if isinstance(what, Station):
                if action == "take" and not what.free:
                    what.queue.append(shard)
                    break
                if action == "take":
                    what.free -= 1
                elif what.queue:
                    heapq.heappush(events, (now, next(order), what.queue.popleft()))
                else:
                    what.free += 1
            else:
                heapq.heappush(events, (now + what, next(order), shard))
                break
    return now
