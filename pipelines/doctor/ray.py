"""Ray: that it starts, and that not everybody can use it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from pipelines.doctor.findings import Finding
from pipelines.doctor.trials import TrialFailed, try_python

START_S: Final = 120.0
TRIAL: Final = "from pipelines.doctor.ray_trial import main; main()"
DASHBOARD_PORT: Final = 8265
EVERYWHERE: Final = ("0.0.0.0", "::")


def check_ray() -> Iterator[Finding]:
    try:
        yield Finding("Ray starts", True, try_python("-c", TRIAL, timeout_s=START_S))
    except TrialFailed as failure:
        remedy = (
            "look at the newest folder of /tmp/ray for its logs; --runner local works without Ray on one "
            "machine"
        )
        yield Finding("Ray starts", False, str(failure), remedy)
    yield _token()
    yield _dashboard()


def _token(home: Path | None = None) -> Finding:
    """Say whether clusters that are started here ask for a token."""
    name, needed = "Ray's token", False
    generate = (
        "ray get-auth-token --generate; give every node the same ~/.ray/auth_token, and set\n"
        "RAY_AUTH_MODE=token where `ray start` runs: without it whoever reaches its ports can run code there"
    )
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or (home or Path.home()) / ".ray" / "auth_token")
    try:
        open_to_others = file.stat().st_mode & 0o077
    except OSError:
        if os.environ.get("RAY_AUTH_TOKEN"):
            return Finding(name, True, "in RAY_AUTH_TOKEN; it is sent to every cluster")
        return Finding(name, False, "none; an embedded Ray needs none, a cluster should", generate, needed)
    if open_to_others:
        return Finding(name, False, f"{file} can be read by other users", f"chmod 600 {file}", needed)
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return Finding(name, False, "RAY_AUTH_MODE=disabled turns it off", "unset RAY_AUTH_MODE", needed)
    return Finding(name, True, f"{file}; it is sent to every cluster")


def _dashboard() -> Finding:
    """Find a dashboard that listens to other machines: its job API runs what it is sent."""
    name = "Ray's dashboard"
    try:
        listening = {
            connection.laddr.ip
            for connection in psutil.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == DASHBOARD_PORT
        }
    except psutil.Error:
        return Finding(name, True, "cannot be looked for without more rights")
    if listening.intersection(EVERYWHERE):
        remedy = "ray start --head --dashboard-host 127.0.0.1, or --include-dashboard=false; or a token"
        what = f"port {DASHBOARD_PORT} is open to other machines: whoever reaches it can run code here"
        return Finding(name, False, what, remedy, needed=False)
    return Finding(name, True, "not open to other machines" if listening else "none runs; mvcap starts none")
