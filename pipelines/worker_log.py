"""What each worker did, as JSON lines: one file for each worker, bounded, without secrets.

Every line has `time` (UTC), `level`, `event`, `stage`, `shard`, `uid`, `seconds`, `worker` and `node`, null
where one says nothing; further keys depend on the event. What the rooms say through Python's `logging`
while a worker is at work becomes lines of its file too; `event`, `uid`, `seconds` and a dict `facts` in
`extra` fill these keys.
"""

import itertools
import json
import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from hashlib import sha256
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final

from mvcap import files
from mvcap.redaction import redacted_values

LIMIT_BYTES: Final = 2 * 2**20
"""Of a file; a full one is kept beside its successor, once."""
KEPT_FILES: Final = 500
"""Of a dataset; the oldest ones go when a run begins."""
LONGEST_TEXT: Final = 2_000
"""Characters of one value."""
ROOMS: Final = ("mvcap", "render", "captions", "pipelines")

SHARD: ContextVar[int | None] = ContextVar("shard", default=None)
"""Index of the shard that this thread works on."""
_CURRENT: ContextVar["WorkerLog | None"] = ContextVar("worker_log", default=None)
_numbers = itertools.count()


def log_folder(root: object) -> Path:
    """Return where the logs of a dataset's workers lie: inside it, or on this machine for object stores."""
    if isinstance(root, Path):
        return root / "_mvcap" / "logs"
    slug = re.sub(r"[^A-Za-z0-9]+", "-", str(root))[-60:].strip("-")
    return files.cache_folder() / "logs" / f"{slug}-{sha256(str(root).encode()).hexdigest()[:8]}"


def forget_old_logs(folder: Path) -> None:
    """Remove all but the newest files, by the time in their names."""
    for path in sorted(folder.glob("*.jsonl*"))[:-KEPT_FILES]:
        path.unlink(missing_ok=True)


class WorkerLog:
    """The file of one worker; a disk that takes no more silences it and ends nothing."""

    def __init__(self, folder: Path, stage: str, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._stage = stage
        self._node = socket.gethostname()
        self._worker = f"{stage}-{os.getpid()}-{next(_numbers)}"
        begun = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        name = re.sub(r"[^A-Za-z0-9.-]", "_", f"{begun}-{self._node}-{self._worker}")
        self.path = folder / f"{name}.jsonl"
        self._file = _Silenced(self.path, maxBytes=limit_bytes, backupCount=1, encoding="utf-8", delay=True)

    def write(
        self,
        event: str,
        *,
        level: str = "info",
        uid: str | None = None,
        seconds: float | None = None,
        **facts: Any,
    ) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
            "stage": self._stage,
            "shard": SHARD.get(),
            "uid": uid,
            "seconds": None if seconds is None else round(seconds, 3),
            "worker": self._worker,
            "node": self._node,
            **facts,
        }
        clean = {key: _shortened(value) for key, value in redacted_values(line).items()}
        self._file.handle(_as_it_is(json.dumps(clean, ensure_ascii=False, default=str)))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let what this thread logs be this worker's, until the end."""
        before = _CURRENT.get()
        with _listening(self):
            _CURRENT.set(self)
            try:
                yield
            finally:
                _CURRENT.set(before)
                self._file.close()


class _Silenced(RotatingFileHandler):
    """Makes its folder with the first line, and gives up where it cannot write."""

    silenced = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.silenced:
            super().emit(record)

    def _open(self) -> Any:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()

    def handleError(self, record: logging.LogRecord) -> None:
        self.silenced = True

    def close(self) -> None:
        with suppress(OSError):  # what the disk did not take is still in the buffer
            super().close()


class _Rooms(logging.Handler):
    """Passes what the rooms log to the worker that speaks, and warnings on to where they go without us."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.logs: list[WorkerLog] = []

    def emit(self, record: logging.LogRecord) -> None:
        alone = self.logs[0] if len(self.logs) == 1 else None  # helper threads of a process with one worker
        if log := _CURRENT.get() or alone:
            log.write(
                getattr(record, "event", "message"),
                level=record.levelname.lower(),
                uid=getattr(record, "uid", None),
                seconds=getattr(record, "seconds", None),
                message=record.getMessage(),
                **getattr(record, "facts", {}),
            )
        last = logging.lastResort
        if last and record.levelno >= last.level and not logging.getLogger().handlers:
            last.handle(record)


_rooms = _Rooms()
_lock = threading.Lock()


@contextmanager
def _listening(log: WorkerLog) -> Iterator[None]:
    with _lock:
        _rooms.logs.append(log)
        for name in ROOMS:
            logging.getLogger(name).addHandler(_rooms)
            logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield
    finally:
        with _lock:
            _rooms.logs.remove(log)
            if not _rooms.logs:
                for name in ROOMS:
                    logging.getLogger(name).removeHandler(_rooms)
                    logging.getLogger(name).setLevel(logging.NOTSET)


def _as_it_is(line: str) -> logging.LogRecord:
    return logging.LogRecord("", logging.INFO, "", 0, line, None, None)


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return value[:LONGEST_TEXT] + "..."
    return value
