"""Calls in a thread of their own, which end in order when they are told to, or are left."""

import threading
from collections.abc import Callable

STOPPING_S = 6.0
"""How long a run that is told to end may take; `mvcap.signals.STOPPED_S` ends the process soon after."""


class Background:
    """A call in a thread of its own, which the caller's thread can wait for, tell to end, or leave."""

    def __init__(self, call: Callable[[threading.Event], None]) -> None:
        self.over = threading.Event()
        self.error: BaseException | None = None
        self._call = call
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="ray-driver", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._call(self._stop)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that runs the whole
            self.error = error
        finally:
            self.over.set()

    def stop(self) -> None:
        """Tell the call to end, and give it a while to do so."""
        self._stop.set()
        self._thread.join(STOPPING_S)
