"""Runs stages as Ray actors: embedded Ray on this machine, or an existing cluster.

Plain actors over our own ledger: only shard numbers travel through the driver. A worker's own errors come
back as they are; an actor that dies took a node or a process with it, which blames no object, so its shard
goes back to the ledger and another actor takes its place.
"""

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.job_config import JobConfig

from mvcap.commits import RENDER
from mvcap.errors import DeviceFaultError, InfrastructureError, MvcapError
from pipelines.ledger import Ledger
from pipelines.shards import ShardWorker
from pipelines.stages import Item, Observer, Result, ShardReport, Stage

POLL_S = 0.5
STORE_BYTES = 128 * 2**20
"""Ray's shared memory; only counts travel through it, and Ray refuses less than 75 MiB."""
CLOSING_S = 3.0
STOPPING_S = 6.0
"""How long a run that is told to end may take; `mvcap.signals.STOPPED_S` ends the process soon after."""
HEAD_CHECK_S = 3.0
HEAD_CHECKS = 4
"""Failed checks in a row before the head counts as lost: Ray itself ends the process after a minute."""
MAX_STARTS_LOST = 3
"""Actors that may die before they are ready, in a row, before the run ends."""


class RayRunner:
    """A set of actors for each stage, all fed from one ledger in the driver.

    Args:
        address: of an existing cluster, or None for an embedded one that ends with this process.
        drop_views: remove a shard's rendered views once it is captioned.
    """

    def __init__(self, *, address: str | None = None, drop_views: bool = True) -> None:
        self._address = address
        self._drop_views = drop_views

    def run(self, stages: Sequence[Stage[Any, Any]], root: Path, ledger: Ledger, observer: Observer) -> None:
        """See `pipelines.stages.Runner.run`; the observer is called from a thread of the runner's.

        Ray works in that thread, and this one only waits: Ray would replace the handler of SIGTERM in the
        main thread, and an exception that a signal raises inside Ray's own code comes out as another one.
        """
        head = HeadCheck()
        _wait_for(
            Background(lambda stop: self._run(stages, root, ledger, observer, head=head, stop=stop)), head
        )

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None
    ) -> Iterator[Result]:
        """See `pipelines.stages.Runner.map`; a task for each item, and one for each CPU at once."""
        head = HeadCheck()
        results: list[Result] = []

        def call(stop: threading.Event) -> None:
            with connected(self._address):
                head.address = _head_address()
                results.extend(_map_as_tasks(work, items, workers, stop))

        _wait_for(Background(call), head)
        return iter(results)

    def _run(
        self,
        stages: Sequence[Stage[Any, Any]],
        root: Path,
        ledger: Ledger,
        observer: Observer,
        *,
        head: "HeadCheck",
        stop: threading.Event,
    ) -> None:
        with connected(self._address):
            try:
                head.address = _head_address()
                crew = Crew(stages, root, drop_views=self._drop_views)
                try:
                    crew.work(ledger, observer, stop)
                finally:
                    crew.dismiss()
            except RayTaskError:
                raise  # an error of ours, with Ray's report of where it happened
            except RayError as error:
                raise InfrastructureError(f"Ray failed: {_last_line(error)}") from error


class Background:
    """A call in a thread of its own, which the caller's thread can wait for, tell to end, or leave."""

    def __init__(self, call: Callable[[threading.Event], None]) -> None:
        self.over = threading.Event()
        self.error: BaseException | None = None
        self._call = call
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ray-driver", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._call(self._stop)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that runs the whole
            self.error = error
        finally:
            self.over.set()

    def stop(self) -> None:
        """Tell the call to end, and give it a while to do so."""
        self._stop.set()
        self._thread.join(STOPPING_S)


def _wait_for(work: Background, head: "HeadCheck") -> None:
    """Wait for a call in the background, and raise what it raised.

    Raises:
        InfrastructureError: Ray's head has gone.
    """
    try:
        while not work.over.wait(POLL_S):
            head.require()
    finally:
        work.stop()
    if work.error:
        raise work.error


def _map_as_tasks(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None, stop: threading.Event
) -> Iterator[Result]:
    """Yield the results in order, with a bounded number of tasks in flight."""
    shared = ray.put(work)
    apply: Any = ray.remote(num_cpus=1)(_apply)
    limit = workers or max(int(_resources().get("CPU", 1)), 1)
    waiting: deque[Any] = deque()
    for item in items:
        if stop.is_set():
            return
        if len(waiting) == limit:
            yield _result(waiting.popleft())
        waiting.append(apply.remote(shared, item))
    while waiting and not stop.is_set():
        yield _result(waiting.popleft())


def _apply(work: Callable[[Item], Result], item: Item) -> Result:
    return work(item)


def _result(call: Any) -> Any:
    try:
        return ray.get(call)
    except RayTaskError as error:
        raise _cause(error) from None
    except RayError as error:
        raise InfrastructureError(f"Ray failed: {_last_line(error)}") from error


class HeadCheck:
    """Finds out that a head has gone; calls to it would only block.

    A head that could never be reached from here, such as one behind a client's port, is not missed.
    """

    def __init__(self) -> None:
        self.address: tuple[str, int] | None = None
        """Set once a connection stands, by the thread that holds it."""
        self._met = False
        self._failed = 0
        self._next = 0.0

    def require(self) -> None:
        """Ask, once in a while, whether the head still listens.

        Raises:
            InfrastructureError: it did, and has not for several checks.
        """
        if self.address is None or time.monotonic() < self._next:
            return
        try:
            socket.create_connection(self.address, timeout=HEAD_CHECK_S).close()
            self._met, self._failed = True, 0
        except OSError as error:
            self._failed += self._met
            if self._failed == HEAD_CHECKS:
                host, port = self.address
                raise InfrastructureError(f"lost Ray's head at {host}:{port}: {error}") from error
        self._next = time.monotonic() + HEAD_CHECK_S


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Use the Ray this process is connected to already, or connect and disconnect.

    Raises:
        InfrastructureError: there is no cluster at the address.
    """
    if ray.is_initialized():
        yield
        return
    embedded: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        ray.init(
            address=address or "local",
            logging_level=logging.ERROR,
            # A file in the working directory that is named like a module must not shadow it: neither
            # Python nor Ray may put that folder on the workers' path. Only jobs of clients are spared.
            runtime_env={"env_vars": {"PYTHONSAFEPATH": "1"}},
            job_config=JobConfig(_client_job=True),
            **({} if address else embedded),
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        place = (
            f"{address}; if the cluster asks for a token, set RAY_AUTH_TOKEN" if address else "this machine"
        )
        raise InfrastructureError(f"cannot connect to Ray at {place}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


class Board:
    """An actor on which the others chalk up their progress."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def advance(self, stage: str, records: int) -> None:
        self._counts[stage] = self._counts.get(stage, 0) + records

    def take(self) -> dict[str, int]:
        counts, self._counts = self._counts, {}
        return counts


class ShardActor:
    """A `ShardWorker` in a process of its own."""

    def __init__(self, stage: Stage[Any, Any], root: str, drop_views: bool, board: Any) -> None:
        self._worker = ShardWorker(stage, Path(root), drop_views=drop_views)
        self._stage = stage.name
        self._board = board
        self._unsent = 0
        self._sent_at = 0.0

    def open(self) -> None:
        """Load the heavy side; errors reach the driver as they are."""
        self._worker.__enter__()

    def run(self, index: int) -> ShardReport:
        report = self._worker.run(index, self._advance)
        self._send()
        return report

    def close(self) -> None:
        self._worker.__exit__(None, None, None)

    def _advance(self, records: int) -> None:
        self._unsent += records
        if time.monotonic() - self._sent_at > POLL_S:
            self._send()

    def _send(self) -> None:
        self._board.advance.remote(self._stage, self._unsent)
        self._unsent, self._sent_at = 0, time.monotonic()


@dataclass(slots=True)
class Member:
    """An actor and what it is doing."""

    stage: Stage[Any, Any]
    actor: Any
    shard: int | None = None
    """None while it starts or is idle."""


class Crew:
    """All actors of a run."""

    def __init__(self, stages: Sequence[Stage[Any, Any]], root: Path, *, drop_views: bool) -> None:
        self._root = str(root.absolute())
        self._drop_views = drop_views
        self._board: Any = ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()
        self._busy: dict[Any, Member] = {}
        """Object reference of the running call -> who runs it."""
        self._idle: list[Member] = []
        self._starts_lost = 0
        for stage in stages:
            for _ in range(stage.workers or default_workers(stage)):
                self._hire(stage)

    def _hire(self, stage: Stage[Any, Any]) -> None:
        remote = ray.remote(ShardActor).options(
            num_cpus=stage.resources.cpus, num_gpus=gpus_for(stage), max_restarts=0
        )
        member = Member(stage, remote.remote(stage, self._root, self._drop_views, self._board))
        self._busy[member.actor.open.remote()] = member

    def work(self, ledger: Ledger, observer: Observer, stop: threading.Event) -> None:
        """Hand out shards and take in reports until the ledger is empty, or until told to stop.

        Raises:
            InfrastructureError: no node is left.
        """
        nodes_at = time.monotonic() + HEAD_CHECK_S
        while not (ledger.done or stop.is_set()):
            self._assign(ledger)
            finished, _ = ray.wait(list(self._busy), num_returns=1, timeout=POLL_S)
            for call in finished:
                self._take_in(call, ledger, observer)
            self._show_progress(observer)
            if time.monotonic() > nodes_at:
                _require_a_node()
                nodes_at = time.monotonic() + HEAD_CHECK_S

    def _show_progress(self, observer: Observer) -> None:
        """Pass on what the board says; one that died is restarted by Ray, and its counts are no loss."""
        try:
            counts = ray.get(self._board.take.remote(), timeout=POLL_S)
        except (RayActorError, GetTimeoutError):
            return
        for name, records in counts.items():
            observer.advance(name, records)

    def _assign(self, ledger: Ledger) -> None:
        for member in list(self._idle):
            if (shard := ledger.take(member.stage.name)) is not None:
                self._idle.remove(member)
                member.shard = shard
                self._busy[member.actor.run.remote(shard)] = member

    def _take_in(self, call: Any, ledger: Ledger, observer: Observer) -> None:
        member = self._busy.pop(call)
        try:
            report = ray.get(call)
        except RayTaskError as error:
            cause = _cause(error)
            if not isinstance(cause, DeviceFaultError):
                raise cause from None
            ray.kill(member.actor)  # its process cannot use the device any more; another one can
            self._replace(member, str(cause), ledger)
            return
        except RayActorError as error:
            self._replace(member, str(error), ledger)
            return
        self._starts_lost = 0
        if member.shard is not None:
            ledger.finish(member.stage.name, member.shard)
            observer.finish(report)
        member.shard = None
        self._idle.append(member)

    def _replace(self, member: Member, cause: str, ledger: Ledger) -> None:
        """Hire anew for an actor that died, and give its shard back without blame."""
        if member.shard is not None:
            ledger.lose(member.stage.name, member.shard, cause)
        else:
            self._starts_lost += 1
            if self._starts_lost > MAX_STARTS_LOST:
                raise InfrastructureError(f"workers for {member.stage.name} die while they start: {cause}")
        self._hire(member.stage)

    def dismiss(self) -> None:
        """Let idle actors close what they hold, and end the others; their children die with them."""
        closing = [member.actor.close.remote() for member in self._idle]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSING_S)
        for member in [*self._idle, *self._busy.values()]:
            ray.kill(member.actor)


def _cause(error: RayTaskError) -> BaseException:
    """Unwrap our own errors; anything else keeps Ray's report of where it happened."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, MvcapError) else error


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _head_address() -> tuple[str, int] | None:
    """Return where the head of the connected cluster listens, as the cluster knows it."""
    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() else None


def _require_a_node() -> None:
    """Refuse to wait for workers that can start nowhere.

    Raises:
        InfrastructureError: every node is dead.
    """
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    if not any(node["Alive"] for node in nodes):
        raise InfrastructureError("every node of the Ray cluster is dead; start it again")


def gpus_for(stage: Stage[Any, Any]) -> float:
    """Return the share of a GPU that Ray reserves for each worker of a stage."""
    wants_one = stage.resources.prefers_gpu and _resources().get("GPU", 0) >= 1
    return max(stage.resources.gpus, float(wants_one))


def default_workers(stage: Stage[Any, Any]) -> int:
    """Fill the GPUs with what needs them and the CPUs with renderers; there is one worker of the rest.

    At least one: of a stage that must have a GPU where there is none, Ray says that it waits for one.
    """
    available = _resources()
    if share := gpus_for(stage):
        return max(int(available.get("GPU", 0) / share), 1)
    return max(int(available.get("CPU", 1) / stage.resources.cpus), 1) if stage.name == RENDER else 1


def _resources() -> dict[str, float]:
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources
