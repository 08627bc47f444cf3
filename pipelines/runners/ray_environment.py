"""What must stand before `ray` is imported: it reads its environment then."""

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from mvcap.errors import UsageError

CLIENT = "ray://"
WANTS_TOKEN = "token"
"""What `ray_greeting` prints."""
REACHABLE_S = 5.0
ANSWER_S = 20.0
"""Until a head has answered: Ray itself would go on trying for many minutes."""


def prepare(address: str | None) -> str | None:
    """Set Ray's environment, and return a cluster's address, checked; None stands for no cluster.

    Call this before `pipelines.runners.ray` loads.

    Raises:
        UsageError: it is no address, or nothing answers there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        return None
    found = address_of_this_machine() if address == "auto" else address
    require_reachable(found)
    choose_token(found)
    return found


def address_of_this_machine() -> str:
    """Return what `auto` stands for: RAY_ADDRESS, else the last cluster that `ray start` joined.

    Raises:
        UsageError: there is neither.
    """
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    temporary = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # as Ray looks (2.60)
    note = Path(temporary) / "ray" / "ray_current_cluster"
    try:
        noted = note.read_text().strip()
    except OSError:
        noted = ""
    if not noted:
        raise UsageError(
            f"--address auto: RAY_ADDRESS is not set and {note} names no cluster; "
            "start one with `ray start --head`, or give HOST:PORT"
        )
    return noted


def require_reachable(address: str) -> None:
    """Refuse an address where nobody listens at once; Ray itself would go on trying for many minutes.

    Raises:
        UsageError: it is no address, or nothing answers there.
    """
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not (host and port.isascii() and port.isdecimal()):
        raise UsageError(f"--address {address!r} must be auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHABLE_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster answers at {address}: {error}") from error


def choose_token(address: str) -> None:
    """Send a token to a cluster that asks for one, and none to others: these could not answer a driver.

    Raises:
        UsageError: no Ray answers, or it asks for a token that this user does not have.
    """
    if os.environ.get("RAY_AUTH_MODE"):
        return
    if is_client(address):  # which may send a token anywhere
        os.environ.update({"RAY_AUTH_MODE": "token"} if has_token() else {})
    elif not wants_token(address):
        os.environ["RAY_AUTH_MODE"] = "disabled"
    elif has_token():
        os.environ["RAY_AUTH_MODE"] = "token"
    else:
        raise UsageError(
            f"the Ray cluster at {address} asks for a token; set RAY_AUTH_TOKEN, or copy ~/.ray/auth_token "
            "from the machine that started it"
        )


def is_client(address: str | None) -> bool:
    """Tell whether a driver stays outside the cluster and speaks to it through Ray's client port."""
    return (address or "").startswith(CLIENT)


def has_token() -> bool:
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").exists()


def wants_token(address: str) -> bool:
    """Ask the head at HOST:PORT.

    Raises:
        UsageError: no Ray answers.
    """
    try:
        greeting = subprocess.run(
            [sys.executable, "-P", "-m", "pipelines.runners.ray_greeting", address],
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise UsageError(
            f"something listens at {address}, but it is no head of Ray {version('ray')}: give the port of "
            f"the head (6379, or ray://HOST:10001), and look at `ray status`{_last_words(error)}"
        ) from error
    return greeting.stdout.split()[-1:] == [WANTS_TOKEN]


def _last_words(error: subprocess.TimeoutExpired | subprocess.CalledProcessError) -> str:
    said = error.stderr.decode() if isinstance(error.stderr, bytes) else error.stderr or ""
    return f" ({lines[-1]})" if (lines := said.strip().splitlines()) else ""
