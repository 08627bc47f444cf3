"""What runs, apart from where it runs.

A stage's worker maps records to records and knows no storage. A runner puts workers somewhere, feeds them
whole shards and keeps the ledger; `pipelines.shards` reads and commits one shard around a worker.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from mvcap.commits import StageName
from mvcap.config import ResourcesConfig
from mvcap.holds import Guard, unguarded
from mvcap.places import Place
from mvcap.records import Rejected
from pipelines.ledger import Ledger

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Item = TypeVar("Item")
Result = TypeVar("Result")


class Worker(Protocol[In, Out]):
    """The loaded side of a stage: a model in memory, or a running Blender."""

    @property
    def made_by(self) -> Mapping[str, Any]:
        """Identity and versions of what does the work, for the commit record; plain JSON values."""

    @property
    def busy_s(self) -> float | None:
        """Time for which its device has worked so far; None where nothing has to wait for input."""

    def __call__(self, records: Iterable[In]) -> Iterator[Out | Rejected]:
        """Yield for each record, in order, its outputs or exactly one `Rejected`."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker needs of its node."""

    cpus: float = 1.0
    prefers_gpu: bool = False
    """Take a whole GPU where the cluster has any."""
    gpus: float = 0.0
    """Share of a GPU that it must have."""
    memory_gb: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)
    """Of the names that an administrator gave to nodes (`ray start --resources`)."""

    def changed_by(self, given: ResourcesConfig) -> "Resources":
        """Replace what the configuration gives."""
        changes: dict[str, Any] = given.model_dump(exclude_none=True)
        if given.gpus is not None:
            changes["prefers_gpu"] = False
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Stage(Generic[In, Out]):
    """A cheap, picklable description of a step; the heavy parts are loaded where it runs."""

    name: StageName
    settings: str
    """Hash of the settings that change what it produces."""
    make_worker: Callable[[], AbstractContextManager[Worker[In, Out]]]
    resources: Resources = field(default_factory=Resources)
    workers: int | None = None
    """How many at once; None lets the runner fill the machine or cluster."""
    guard: Guard = unguarded
    """Asked before each commit whether the driver still holds the dataset."""
    again: frozenset[str] = frozenset()
    """Objects to try again although they failed: see `pipelines.second_tries`."""
    reads: tuple[str, ...] = ()
    """Files and folders of the driver's machine that workers read, so that every node must have them."""


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What a runner learns about a finished shard; never its rows."""

    stage: StageName
    shard: int
    rows: int
    """Those that were made; rows that were kept do not count."""
    rejected: int
    seconds: float
    """From the first read to the commit."""
    bytes: int = 0
    """Of the committed file."""
    busy_s: float | None = None
    """For how long of them the worker's device worked; None where nothing has to wait for input."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Of what was rejected."""


class Observer(Protocol):
    """Hears of progress; called from one thread, which need not be the one that called `Runner.run`."""

    def advance(self, stage: StageName, records: int) -> None:
        """Count records that a worker has put out, before their shard is committed."""

    def finish(self, report: ShardReport) -> None:
        """Count a committed shard."""


class Runner(Protocol):
    """Runs stages over shards until the ledger is empty, and plain functions over items."""

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None
    ) -> Iterator[Result]:
        """Yield `work(item)` for every item, in order; both travel to other processes, so they are small.

        Args:
            workers: how many at once; None lets the runner choose.

        Raises:
            MvcapError: as raised by `work`.
            InfrastructureError: workers keep dying.
        """

    def run(self, stages: Sequence[Stage[Any, Any]], root: Place, ledger: Ledger, observer: Observer) -> None:
        """Work through the ledger.

        Raises:
            MvcapError: as raised by a worker; the shards committed until then stay.
            InfrastructureError: workers keep dying without an object to blame.
        """
