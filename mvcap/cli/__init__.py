"""The command line: parse, make a configuration, hand over to `pipelines`.

stdout is data, stderr is progress. Exit codes: 0 done, 1 error, 2 wrong usage or set-up, 3 some objects
failed, 130/143 ended by a signal. Heavy imports stand inside the commands, so that `--help` is quick.
"""

import os
import sys
from typing import NoReturn

from rich.console import Console
from rich.markup import escape

from mvcap.cli import building, exchanging, looking, operating, planning, reporting, training
from mvcap.cli.app import app
from mvcap.cli.options import say
from mvcap.errors import MvcapError
from mvcap.redaction import redacted
from mvcap.signals import Stopped, listen
from mvcap.streams import forgive_readers_that_leave

__all__ = [
    "app",
    "building",
    "exchanging",
    "looking",
    "main",
    "operating",
    "planning",
    "reporting",
    "training",
]


def main() -> NoReturn:
    """Run the command line; every way out has its exit code."""
    listen()
    forgive_readers_that_leave()
    try:
        app(standalone_mode=True)
    except MvcapError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]error:[/] {escape(redacted(str(error)))}", highlight=False
        )
        code = error.exit_code
    except Stopped as stopped:
        say("stopped; the same command goes on from here")
        code = 128 + stopped.number
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads that still work on a shard must not hold the process
