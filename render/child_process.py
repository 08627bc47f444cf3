"""One Blender child: start it, ask it, watch it, end it. Its death is a value, not a surprise."""

import fcntl
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, Final

import psutil

from mvcap.temporary import TemporaryFolder
from render.job import HEADER, PREAMBLE, Message, decode_message, encode_message

WATCH_INTERVAL_S: Final = 0.2
"""How often the resident size is read: a scene grows by about 1 GB/s at most."""
LOG_TAIL_BYTES: Final = 4000
TEMPORARY: Final = "mvcap-blender-"
"""Of the folder in which Blender keeps its temporary files."""
GREETING_LIMIT_BYTES: Final = 1 << 20
"""What a Blender binary may print before our script speaks."""
READ_BYTES: Final = 1 << 20


class ChildDied(Exception):
    """The child ended by itself, or by a signal that we did not send."""

    def __init__(self, exit_code: int) -> None:
        self.signal = signal_name(exit_code)
        super().__init__(f"died of {self.signal}" if self.signal else f"exited with code {exit_code}")


class DeadlinePassed(Exception):
    """The child did not answer in time and was killed."""


class MemoryCapPassed(Exception):
    """The child grew beyond its cap and was killed."""


class ChildProcess:
    """A running child with its pipes and its log; every method but `kill` may raise the errors above."""

    def __init__(self, command: list[str], *, max_memory_bytes: int, core: int | None) -> None:
        self._max_memory_bytes = max_memory_bytes
        self._log = append_only_file()
        # Blender makes a folder there at its start, and leaves it behind where it is killed.
        self._temporary = TemporaryFolder.open(TEMPORARY)
        self._received = bytearray()
        # The kernel ends the child together with the *thread* that started it, and the affinity is
        # inherited from that thread as well: so a thread of its own, which lives as long as the child.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="blender-starter")
        try:
            self._process = self._starter.submit(
                start, command, self._log, core, str(self._temporary.path)
            ).result()
        except OSError:
            self._starter.shutdown()
            self._log.close()
            self._temporary.remove()
            raise
        self._watched = [psutil.Process(self._process.pid)]

    @property
    def pid(self) -> int:
        return self._process.pid

    def await_hello(self, deadline: float) -> Message:
        """Skip what the interpreter prints before our script runs, and return the first message."""
        while (start := self._received.find(PREAMBLE)) < 0:
            if len(self._received) > GREETING_LIMIT_BYTES:
                self.kill()
                raise ChildDied(0)
            self._receive_some(deadline)
        del self._received[: start + len(PREAMBLE)]
        self._watched += self._watched[0].children(recursive=True)  # of an interpreter that is a wrapper
        return self._next_message(deadline)[0]

    def ask(self, message: Mapping[str, Any], deadline: float) -> tuple[Message, bytes]:
        """Send one request and wait for its reply, until `deadline` on the monotonic clock."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(encode_message(message))
        except BrokenPipeError:
            raise self._death() from None
        return self._next_message(deadline)

    def truncate_log(self) -> None:
        self._log.truncate(0)

    def log_tail(self) -> str:
        """Return the end of what the child printed since the log was last truncated."""
        size = os.fstat(self._log.fileno()).st_size
        tail = os.pread(self._log.fileno(), LOG_TAIL_BYTES, max(0, size - LOG_TAIL_BYTES))
        return tail.decode(errors="replace")

    def kill(self) -> None:
        """End the child and whatever it started; does nothing the second time."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._starter.shutdown()
        self._temporary.remove()

    def _next_message(self, deadline: float) -> tuple[Message, bytes]:
        while len(self._received) < HEADER.size:
            self._receive_some(deadline)
        text_length, payload_length = HEADER.unpack_from(self._received)
        end_of_text = HEADER.size + text_length
        while len(self._received) < end_of_text + payload_length:
            self._receive_some(deadline)
        message = decode_message(bytes(self._received[HEADER.size : end_of_text]))
        payload = bytes(self._received[end_of_text : end_of_text + payload_length])
        del self._received[: end_of_text + payload_length]
        return message, payload

    def _receive_some(self, deadline: float) -> None:
        """Wait a moment for bytes, then look at the clock and at the child's memory."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        if poll.poll(1000 * WATCH_INTERVAL_S):
            chunk = os.read(pipe, READ_BYTES)
            if not chunk:
                raise self._death()
            self._received += chunk
        if time.monotonic() > deadline:
            self.kill()
            raise DeadlinePassed
        if self.resident_bytes() > self._max_memory_bytes:
            self.kill()
            raise MemoryCapPassed

    def resident_bytes(self) -> int:
        total = 0
        for process in self._watched:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue  # it died: the pipe says so next
        return total

    def _death(self) -> ChildDied:
        """Collect a child that closed its pipe; it may still be on its way out."""
        try:
            exit_code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            exit_code = 0
        self.kill()
        return ChildDied(exit_code)


def start(command: list[str], log: IO[bytes], core: int | None, folder: str) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C in a terminal is the parent's to handle.

    Its temporary files go to `folder`.
    """
    if core is not None:
        os.sched_setaffinity(0, {core})
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, "TMPDIR": folder},
        bufsize=0,
        start_new_session=True,
    )


def append_only_file() -> IO[bytes]:
    """Return a nameless file whose every write goes to its present end, also after it was truncated."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the child
    flags = fcntl.fcntl(file, fcntl.F_GETFL)
    fcntl.fcntl(file, fcntl.F_SETFL, flags | os.O_APPEND)
    return file


def signal_name(exit_code: int) -> str | None:
    """Name the signal behind an exit code; shells that wrap an interpreter report 128 + signal."""
    number = -exit_code if exit_code < 0 else exit_code - 128
    try:
        return signal.Signals(number).name
    except ValueError:
        return None
