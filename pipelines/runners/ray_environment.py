"""What must stand before `ray` is imported: it reads its environment then."""

import os
import socket
from pathlib import Path

from mvcap.errors import UsageError

REACHABLE_S = 10.0


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
    send_token_if_there_is_one()
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
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isascii() and port.isdecimal()):
        raise UsageError(f"--address {address!r} must be auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHABLE_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster answers at {address}: {error}") from error


def send_token_if_there_is_one() -> None:
    """Turn on Ray's token where this user has one: a cluster without tokens does not mind (2.60)."""
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if named or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
