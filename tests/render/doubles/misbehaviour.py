"""What the children of the tests do when an asset's file name asks for it.

The words of the name are looked at: `abort-load.obj` aborts when it is loaded, `hang-view2.obj` hangs at
its third view. A name with `once` misbehaves only the first time; a file beside the asset remembers.
"""

import os
import signal
import sys
import time
from pathlib import Path


def take_memory() -> None:
    hoard = []
    while len(hoard) < 4000:
        hoard.append(bytearray(b"x") * (1 << 20))
        time.sleep(0.001)


DEEDS = {
    "abort": os.abort,
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "hang": lambda: time.sleep(60),
    "greedy": take_memory,
}


class Misbehaviour:
    """Listens to the requests and strikes at the one that the asset's name says."""

    def __init__(self) -> None:
        self.asset = Path()
        self.views = 0

    def listen(self, message: dict) -> None:
        if message.get("kind") == "load":
            self.asset, self.views = Path(message["asset"]), 0
            self.strike("load")
        elif message.get("kind") == "view":
            self.strike(f"view{self.views}")
            self.views += 1

    def strike(self, moment: str) -> None:
        words = self.asset.stem.split("-")
        if moment not in words or ("once" in words and self.asset.with_suffix(".done").exists()):
            return
        self.asset.with_suffix(".done").touch()
        print(f"about to {words[0]} at {moment}", file=sys.stderr, flush=True)
        DEEDS[words[0]]()
