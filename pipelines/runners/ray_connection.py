"""A connection to Ray, for as long as a run takes, and how one learns that the cluster has gone."""

import logging
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.job_config import JobConfig

from mvcap.errors import InfrastructureError, MvcapError
from pipelines.runners.background import Background
from pipelines.runners.ray_environment import is_client

POLL_S = 0.5
STORE_BYTES = 128 * 2**20
"""Ray's shared memory; only counts travel through it, and Ray refuses less than 75 MiB."""
CONNECT_S = 20.0
"""Until a cluster has answered: Ray itself would go on trying for many minutes."""
CLIENT_CONNECT_S = 150.0
"""The same for a client's port, behind which the head starts a server for this driver, twice if need be."""
NO_CLIENT_SERVER = ("Starting Ray client server failed", "Proxy failed to Connect to backend")
"""What a head says, after 30 s, whose server for this driver ended as it began. Ray 2.60 forks it off a
process with threads of gRPC, which now and then goes wrong; another one does better."""
HEAD_CHECK_S = 3.0
HEAD_CHECKS = 4
"""Failed checks in a row before the head counts as lost: Ray itself ends the process after a minute."""


@contextmanager
def connected(address: str | None, *, quiet: bool = False) -> Iterator[None]:
    """Use the Ray this process is connected to already, or connect and disconnect.

    Args:
        quiet: do not repeat what workers print.

    Raises:
        InfrastructureError: there is no cluster at the address.
    """
    if ray.is_initialized():
        yield
        return
    own_job: dict[str, Any] = {} if is_client(address) else {"job_config": JobConfig(_client_job=True)}
    embedded: dict[str, Any] = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    try:
        _connect(
            address=address or "local",
            logging_level=logging.ERROR,
            log_to_driver=not quiet,
            # A file in the working directory that is named like a module must not shadow it: neither
            # Python nor Ray may put that folder on the workers' path. Only jobs of clients are spared.
            runtime_env={"env_vars": {"PYTHONSAFEPATH": "1"}},
            **own_job,
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


def _connect(**settings: Any) -> None:
    """Connect as `ray.init` does, once more where the head's server for this driver did not come up."""
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError) as error:
        if not any(words in str(error) for words in NO_CLIENT_SERVER):
            raise
        ray.init(**settings)


class HeadCheck:
    """Finds out that a head has gone; calls to it would only block.

    A head that could never be reached from here, such as one behind a client's port, is not missed.

    Args:
        cluster: the address to connect to; None for an embedded Ray, which may take its time.
    """

    def __init__(self, cluster: str | None) -> None:
        self._cluster = cluster
        self._patience_s = CLIENT_CONNECT_S if is_client(cluster) else CONNECT_S
        self._connected_by = time.monotonic() + self._patience_s if cluster else math.inf
        self._address: tuple[str, int] | None = None
        self._met = False
        self._failed = 0
        self._next = 0.0

    def connected(self) -> None:
        """Note that a connection stands, from the thread that holds it."""
        self._connected_by = math.inf
        self._address = head_address()

    def require(self) -> None:
        """Ask, once in a while, whether the head still listens.

        Raises:
            InfrastructureError: it did, and has not for several checks; or it never answered.
        """
        if time.monotonic() > self._connected_by:
            raise InfrastructureError(
                f"something listens at {self._cluster}, but no Ray answered within {self._patience_s:.0f} s: "
                "give the port of its head (6379, or ray://HOST:10001), see `ray status`, and set "
                "RAY_AUTH_TOKEN if the cluster asks for a token"
            )
        if self._address is None or time.monotonic() < self._next:
            return
        try:
            socket.create_connection(self._address, timeout=HEAD_CHECK_S).close()
            self._met, self._failed = True, 0
        except OSError as error:
            self._failed += self._met
            if self._failed == HEAD_CHECKS:
                host, port = self._address
                raise InfrastructureError(
                    f"lost Ray's head at {host}:{port}: {error}; start the cluster again, then the same "
                    "command goes on"
                ) from error
        self._next = time.monotonic() + HEAD_CHECK_S


def head_address() -> tuple[str, int] | None:
    """Return where the head of the connected cluster listens, as the cluster knows it."""
    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    return (host.strip("[]"), int(port)) if port.isdecimal() else None


def wait_for(work: Background, head: HeadCheck) -> None:
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


def cause_of(error: RayTaskError) -> BaseException:
    """Unwrap our own errors; anything else keeps Ray's report of where it happened."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, MvcapError) else error


def death_of(error: RayError) -> str:
    """Say in a line how an actor died, without Ray's guesses at why."""
    return " ".join(str(error).partition("Some common causes")[0].split())


def last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
