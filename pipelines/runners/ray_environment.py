"""What must stand before `ray` is imported: it reads its environment then."""

import os
import socket
from pathlib import Path

from mvcap.errors import UsageError

REACHABLE_S = 10.0


def prepare(address: str | None) -> None:
    """Check a cluster's address and set Ray's environment; call this before `pipelines.runners.ray` loads.

    Raises:
        UsageError: it is no address, or nothing answers there.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address:
        require_reachable(address)
        send_token_if_there_is_one()


def require_reachable(address: str) -> None:
    """Refuse an address where nobody listens at once; Ray itself would go on trying for many minutes.

    Raises:
        UsageError: it is no address, or nothing answers there.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        raise UsageError(f"--address {address} must be auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), timeout=REACHABLE_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster answers at {address}: {error}") from error


def send_token_if_there_is_one() -> None:
    """Turn on Ray's token where this user has one: a cluster without tokens does not mind (2.60)."""
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if named or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
