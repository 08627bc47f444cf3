"""The command `mvcap`, forked from a process that has imported everything: a run costs no start-up.

`python forked_drivers.py MODULE...` imports the modules, then reads requests as lines of JSON,
`{"arguments": [...], "environment": {...}, "output": FILE, "trace": FILE or null}`, runs each as a command of
its own and answers with its exit code, negative for a signal. A trace has a line for each fault point passed.
"""

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

MODULES = (
    *("pipelines.build_all", "pipelines.runners.local", "pipelines.planning", "mvcap.verify"),
    *("mvcap.sources.folder", "render.backends.fake", "captions.backends.fake"),
    *("mvcap.recipes", "inflect", "pandas", "pyarrow.compute", "pyarrow.dataset", "PIL.JpegImagePlugin"),
    *("PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin"),
)
"""All that a build with fake stages imports, and what that imports late."""


class ForkedDrivers:
    """Starts commands, one after another."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process = process
        self.log = log
        """What the last command printed."""

    def __call__(self, *arguments: object, trace: Path | None = None, **environment: str) -> int:
        """Run `mvcap ARGUMENTS` to its end and return its exit code, -9 where it was killed."""
        assert self._process.stdin
        assert self._process.stdout
        request = {
            "arguments": [*map(str, arguments)],
            "environment": environment,
            "output": str(self.log),
            "trace": str(trace) if trace else None,
        }
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


@contextmanager
def start(log: Path, modules: Sequence[str] = MODULES) -> Iterator[ForkedDrivers]:
    """Start the process that forks; it uses no threads itself, so that its children are sound."""
    process = subprocess.Popen(
        [sys.executable, __file__, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield ForkedDrivers(process, log)
    finally:
        process.kill()
        process.communicate()


def _serve(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if (child := os.fork()) == 0:
            _become(**request)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(
    arguments: Sequence[str], environment: Mapping[str, str], output: str, trace: str | None
) -> NoReturn:
    """Run the command in this process, which it ends."""
    from mvcap import fault_points
    from mvcap.cli import main

    if trace is not None:
        lines = Path(trace).open("a", buffering=1)  # noqa: SIM115 - open until the process ends
        fault_points.passing = lambda point: print(point, file=lines)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.environ.update(environment)
    sys.argv = ["mvcap", *arguments]
    code = 99  # of an error that the command does not know
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - an interpreter would print it at its end
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1:])
