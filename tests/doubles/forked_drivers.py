"""The command `mvcap`, forked from a process that has imported everything: a run costs no start-up.

`python forked_drivers.py MODULE...` imports the modules, then reads requests as lines of JSON, and answers
each with a line:

* `{"arguments": [...], "environment": {...}, "output": FILE, "trace": FILE or null}` runs a command; the
  answer is its pid. A trace has a line for each fault point passed.
* `{"wait": PID}` waits for a command; the answer is its exit code, negative for a signal.
* `{"poll": PID}` does not wait: while the command runs, the answer is `null`.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

MODULES = (
    *("pipelines.build_all", "pipelines.runners.local", "pipelines.planning", "mvcap.verify"),
    *("mvcap.sources.folder", "render.backends.fake", "captions.backends.fake"),
    *("mvcap.recipes", "inflect", "pandas", "pyarrow.compute", "pyarrow.dataset", "PIL.JpegImagePlugin"),
    *("PIL.BmpImagePlugin", "PIL.GifImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin"),
)
"""All that a build with fake stages imports, and what that imports late."""
WITH_RAY = (*MODULES, "pipelines.runners.ray")


class ForkedDrivers:
    """Starts commands."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._started = 0
        self.running: list[Driver] = []

    def start(self, *arguments: object, trace: Path | None = None, **environment: str) -> "Driver":
        """Start `mvcap ARGUMENTS`."""
        self._started += 1
        log = self._folder / f"driver-{self._started}.log"
        log.touch()  # so that it can be read at once
        pid = self.ask(
            arguments=[*map(str, arguments)],
            environment=environment,
            output=str(log),
            trace=str(trace) if trace else None,
        )
        assert pid
        self.running.append(driver := Driver(self, pid, log))
        return driver

    def __call__(self, *arguments: object, trace: Path | None = None, **environment: str) -> int:
        """Run `mvcap ARGUMENTS` to its end and return its exit code, -9 where it was killed."""
        return self.start(*arguments, trace=trace, **environment).wait()

    @property
    def said(self) -> str:
        """What the last command printed."""
        return (self._folder / f"driver-{self._started}.log").read_text()

    def ask(self, **request: object) -> int | None:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer


class Driver:
    """A command that was started."""

    def __init__(self, drivers: ForkedDrivers, pid: int, log: Path) -> None:
        self.pid = pid
        self._drivers = drivers
        self._log = log
        self._code: int | None = None

    @property
    def said(self) -> str:
        return self._log.read_text()

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        if self._code is None:
            self._note(self._drivers.ask(poll=self.pid))
        return self._code

    def wait(self) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        if self._code is None:
            self._note(self._drivers.ask(wait=self.pid))
        assert self._code is not None
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def _note(self, code: int | None) -> None:
        self._code = code
        if code is not None:
            self._drivers.running.remove(self)


@contextmanager
def start(folder: Path, modules: Sequence[str] = MODULES) -> Iterator[ForkedDrivers]:
    """Start the process that forks; it uses no threads itself, so that its children are sound.

    Args:
        folder: where the commands' output is kept.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    drivers = ForkedDrivers(process, folder)
    try:
        yield drivers
    finally:
        for driver in drivers.running:
            with suppress(ProcessLookupError):
                os.kill(driver.pid, signal.SIGKILL)
        process.kill()
        process.communicate()


def _serve(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        if pid := request.get("wait") or request.get("poll"):
            ended, status = os.waitpid(pid, os.WNOHANG if "poll" in request else 0)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        elif (answer := os.fork()) == 0:
            _become(**request)
        print(json.dumps(answer), flush=True)


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
