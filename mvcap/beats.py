"""How owners of leases show that they live: by a counter that goes on."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mvcap import files
from mvcap.errors import OutputError, StorageUnreachableError
from mvcap.owners import Owner
from mvcap.places import Place

BEAT_S: Final = 5.0
EXPIRES_S: Final = 60.0
"""Twelve beats: a driver may be busy, and storage slow, for a while."""


class Beats:
    """The counters by which owners show that they live: a small file for each."""

    def __init__(self, folder: Place) -> None:
        self._folder = folder

    @contextmanager
    def beating(self, token: str) -> Iterator[None]:
        """Count until the end of the block, on a thread."""
        began, stop = time.monotonic(), threading.Event()

        def beat(count: int) -> None:
            content = files.json_bytes({"beat": count, "held_s": round(time.monotonic() - began)})
            place = self._place(token)
            if isinstance(place, Path):
                # Not a new file in its place: NFS shows other hosts new content at once, and new files late.
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            else:
                files.write_bytes(place, content)

        def go_on() -> None:
            count = 0
            while not stop.wait(BEAT_S):
                count += 1
                with suppress(StorageUnreachableError, OSError):  # the next one may come through
                    beat(count)

        try:
            beat(0)
        except OSError as error:
            raise OutputError(f"cannot write to {self._folder}: {error.strerror or error}") from error
        heart = threading.Thread(target=go_on, name="lease", daemon=True)
        heart.start()
        try:
            yield
        finally:
            stop.set()
            heart.join(timeout=BEAT_S)
            with suppress(StorageUnreachableError):
                self.forget(token)

    def read(self, token: str) -> bytes | None:
        try:
            return files.read_bytes(self._place(token))
        except FileNotFoundError:
            return None

    def age_s(self, token: str) -> float | None:
        """Return for how long an owner had held its lease at its last beat, by its own clock."""
        try:
            return float(json.loads(self.read(token) or b"")["held_s"])
        except (ValueError, TypeError, LookupError):
            return None

    def forget(self, token: str) -> None:
        files.delete(self._place(token))

    def _place(self, token: str) -> Place:
        return self._folder / f"beat-{token}"


class Watch:
    """Finds out whether owners live, by looking again and again."""

    def __init__(self, beats: Beats) -> None:
        self._beats = beats
        self._seen: dict[str, tuple[bytes | None, float]] = {}
        """The first beat that was seen of each, and when, by this process's own clock."""

    def verdict(self, owner: Owner) -> bool | None:
        """Tell whether an owner lives; None while that cannot be told."""
        if owner.is_here:
            return owner.lives_here
        now, beat = time.monotonic(), self._beats.read(owner.token)
        first, since = self._seen.setdefault(owner.token, (beat, now))
        if beat != first:
            return True
        return False if now - since >= EXPIRES_S else None
