"""A status in words, once or again and again."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from mvcap.errors import StorageUnreachableError
from mvcap.places import Place
from mvcap.quantities import quantity
from pipelines.status import dataset_status


def describe(state: Mapping[str, Any]) -> str:
    """Say a status in a few lines."""
    return "\n".join(
        [
            f"{state['dataset']}: {'complete' if state['complete'] else 'unfinished'}",
            f"  objects  {state['objects_done']:,} of {state['objects']:,} done, "
            f"{quantity(state['views'], 'view')}",
            *(
                line
                for name, stage in state["stages"].items()
                for line in _stage_lines(name, stage, state["shards"])
            ),
            *_not_listed(state),
            *_removed(state),
            *_uncaptioned(state),
            *_at_work(state),
            *_remedy(state),
        ]
    )


def watch(
    root: Place, show: Callable[[dict[str, Any]], None], say: Callable[[str], None], *, every_s: float
) -> None:
    """Show a dataset's status again and again, until it is complete and nobody is at work on it.

    Where storage does not answer for a while after it did once, that is said, and it is asked again.

    Raises:
        OutputError: the folder holds no dataset.
        StorageUnreachableError: nobody answers from the beginning.
    """
    state = dataset_status(root)
    show(state)
    while not state["complete"] or state["at_work"]:
        time.sleep(every_s)
        try:
            state = dataset_status(root)
        except StorageUnreachableError as error:
            say(str(error))
            continue
        show(state)


def _stage_lines(name: str, stage: Mapping[str, Any], shards: int) -> Iterator[str]:
    counts = f"{stage['shards_done']:,} of {quantity(shards, 'shard')}"
    if stage["shards_running"]:
        counts += f", {stage['shards_running']} running"
    line = f"  {name:8} {counts}, {quantity(stage['views'], 'view')}"
    if rate := stage["views_per_worker_second"]:
        line += f", {rate:.2f} views/s for each worker"
    yield line
    if rate := stage["views_per_second"]:
        left = f", {_duration(stage['seconds_left'])} left" if stage["seconds_left"] else ""
        yield f"{'':11}{rate:.2f} views/s now{left}"
    if stage["slowest"]:
        slowest = ", ".join(f"{uid} {seconds:.1f} s" for uid, seconds in stage["slowest"].items())
        yield f"{'':11}slowest: {slowest}"
    if stage["reasons"]:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in stage["reasons"].items())
        told = {"object": stage["objects_failed"], "view": stage["views_failed"]}
        failed = ", ".join(quantity(count, noun) for noun, count in told.items() if count)
        yield f"{'':11}failed: {failed}: {reasons}"


def _not_listed(state: Mapping[str, Any]) -> Iterator[str]:
    for reason, count in state["not_listed"].items():
        unlisted = quantity(count, "object")
        yield f"  sources  {unlisted} could not be listed: {reason}; the next build looks again"


def _removed(state: Mapping[str, Any]) -> Iterator[str]:
    if removed := state["objects_removed"]:
        yield f"  removed  {quantity(removed, 'object')}"


def _uncaptioned(state: Mapping[str, Any]) -> Iterator[str]:
    if views := state["uncaptioned_views"]:
        how = shlex.join(["mvcap", "caption", state["dataset"]])
        yield f"  no caption yet: {quantity(views, 'view')}; `{how}` writes them"


def _at_work(state: Mapping[str, Any]) -> Iterator[str]:
    for driver in state["at_work"]:
        age = _duration(max(time.time() - float(driver["since"]), 0))
        part = f", slice {driver['slice']}" if driver["slice"] else ""
        yield f"  at work: process {driver['pid']} on {driver['host']}, for {age}{part}"
    if not state["at_work"] and not state["complete"]:
        yield "  nobody is at work; the same command as before goes on"


def _remedy(state: Mapping[str, Any]) -> Iterator[str]:
    if any(stage["reasons"] for stage in state["stages"].values()):
        again = shlex.join(["mvcap", "retry", state["dataset"], "--failed"])
        if state["complete"]:
            yield f"  failures.parquet tells more; `{again}` tries again"
        else:
            yield f"  once all is done, failures.parquet tells more, and `{again}` tries again"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
