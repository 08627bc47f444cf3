"""A status in words, once or again and again."""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pipelines.status import dataset_status


def describe(state: Mapping[str, Any]) -> str:
    """Say a status in a few lines."""
    return "\n".join(
        [
            f"{state['dataset']}: {'complete' if state['complete'] else 'unfinished'}",
            f"  objects  {state['objects_done']} of {state['objects']} done, {state['views']} views",
            *(
                line
                for name, stage in state["stages"].items()
                for line in _stage_lines(name, stage, state["shards"])
            ),
            *_not_listed(state),
            *([f"  removed  {state['objects_removed']} objects"] if state["objects_removed"] else []),
            *_uncaptioned(state),
            *_at_work(state),
            *_remedy(state),
        ]
    )


def watch(root: Path, show: Callable[[dict[str, Any]], None], *, every_s: float) -> None:
    """Show a dataset's status again and again, until it is complete and nobody is at work on it.

    Raises:
        OutputError: the folder holds no dataset.
    """
    while True:
        state = dataset_status(root)
        show(state)
        if state["complete"] and not state["at_work"]:
            return
        time.sleep(every_s)


def _stage_lines(name: str, stage: Mapping[str, Any], shards: int) -> Iterator[str]:
    counts = f"{stage['shards_done']} of {shards} shards"
    if stage["shards_running"]:
        counts += f", {stage['shards_running']} running"
    line = f"  {name:8} {counts}, {stage['views']} views"
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
        yield f"{'':11}failed: {stage['objects_failed']} objects, {stage['views_failed']} views: {reasons}"


def _not_listed(state: Mapping[str, Any]) -> Iterator[str]:
    for reason, count in state["not_listed"].items():
        yield f"  sources  {count} objects could not be listed: {reason}"


def _uncaptioned(state: Mapping[str, Any]) -> Iterator[str]:
    if state["uncaptioned_views"]:
        yield f"  no caption yet: {state['uncaptioned_views']} views; `mvcap caption` writes them"


def _at_work(state: Mapping[str, Any]) -> Iterator[str]:
    for driver in state["at_work"]:
        age = _duration(max(time.time() - float(driver["since"]), 0))
        part = f", slice {driver['slice']}" if driver["slice"] else ""
        yield f"  at work: process {driver['pid']} on {driver['host']}, for {age}{part}"
    if not state["at_work"] and not state["complete"]:
        yield "  nobody is at work; the same command as before goes on"


def _remedy(state: Mapping[str, Any]) -> Iterator[str]:
    if state["failures"]:
        yield "  failures.parquet tells more, once all is done; `mvcap retry DIR --failed` tries again"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
