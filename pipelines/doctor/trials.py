"""Try things in a process of their own, which may crash or hang."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence


class TrialFailed(Exception):
    """What was tried does not work; the message is one line."""


def try_python(*arguments: str, timeout_s: float) -> str:
    """Run this Python and return what it printed; the working directory is no part of its path.

    Raises:
        TrialFailed: it ended with an error or a signal, or had to be ended.
    """
    return try_command([sys.executable, "-P", *arguments], timeout_s=timeout_s)


def try_command(command: Sequence[str], *, timeout_s: float) -> str:
    """Run a command and return what it printed; all that it started ends with it.

    Raises:
        TrialFailed: it does not start, ended with an error or a signal, or had to be ended.
    """
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise TrialFailed(f"{command[0]} does not start: {error.strerror}") from error
    try:
        output, errors = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise TrialFailed(f"gave no answer in {timeout_s:g} s") from error
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode:
        raise TrialFailed(_last_words(child.returncode, errors))
    return output.strip()


def _last_words(code: int, errors: str) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return lines[-1] if lines else f"ended with exit code {code}"
