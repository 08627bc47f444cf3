"""Named steps at which a process can be made to kill itself, to prove that a dataset outlives it anywhere.

`MVCAP_FAULT=POINT:N` sends SIGKILL to whatever process passes POINT for the N-th time. Only tests set it;
without it a step costs the look-up of one environment variable.
"""

import os
import signal
import threading
from collections import Counter
from typing import Final

VARIABLE: Final = "MVCAP_FAULT"

POINTS: Final = (
    # any small file: plan, settings, tables, card (`mvcap.files`)
    "staged.written",
    "staged.synced",
    "staged.renamed",
    "created.written",
    "created.synced",
    "created.named",
    # the plan and what it is about
    "plan.objects",
    "plan.failures",
    "plan.leaks",
    "plan.written",
    # a stage's file of a shard
    "shard.begun",
    "shard.written",
    "shard.synced",
    "shard.recorded",
    "shard.renamed",
    "shard.committed",
    "shard.drawn",
    "views.dropped",
    "views.removed",
    # what a dataset ends with
    "finish.begun",
    "finish.labelled",
    "finish.drawn",
    "finish.objects",
    "finish.failures",
    "finish.scores",
    "finish.card",
    "finish.report",
    "finish.marked",
    # a broken shard is taken out
    "aside.forgotten",
    "aside.moved",
    "aside.unfinished",
)

_passed: Counter[str] = Counter()
_counting = threading.Lock()


def passing(point: str) -> None:
    """Stand at a step of a commit; the process ends here if the environment asks for it.

    Raises:
        ValueError: the environment names a step that does not exist.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    named, count = parse(wanted)
    if named != point:
        return
    with _counting:
        _passed[point] += 1
        if _passed[point] == count:
            os.kill(os.getpid(), signal.SIGKILL)


def parse(text: str) -> tuple[str, int]:
    """Read `POINT:N`.

    Raises:
        ValueError: there is no such point, or N is no positive number.
    """
    point, _, count = text.partition(":")
    if point not in POINTS or not (count.isascii() and count.isdecimal() and int(count)):
        raise ValueError(f"{VARIABLE}={text!r} is not POINT:N with N from 1; points: {', '.join(POINTS)}")
    return point, int(count)
