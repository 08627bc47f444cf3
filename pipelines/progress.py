"""Show how far a run is: a bar on a terminal, a line every 30 s elsewhere, and a summary; on stderr."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mvcap.commits import CAPTION, StageName
from mvcap.quantities import quantity
from pipelines.stages import Observer, Result, ShardReport

LINE_EVERY_S = 30.0


@contextmanager
def observing(
    totals: Mapping[StageName, int],
    stream: TextIO = sys.stderr,
    *,
    labels: Mapping[StageName, str] = MappingProxyType({}),
) -> Iterator[Observer]:
    """Give an observer for a run, and sum the run up at its end, whatever ended it.

    Args:
        totals: views that each stage still has to do, as far as one can know; other stages are not shown.
        labels: what to call stages, where not by their names.
    """
    named = {stage: labels.get(stage, stage) for stage in totals}
    tally = Tally(named)
    try:
        with _showing(totals, named, stream) as display:
            yield Both(display, tally)
    finally:
        for line in tally.summary():
            print(line, file=stream, flush=True)


def telling(results: Iterable[Result], total: int, what: str, say: Callable[[str], None]) -> Iterator[Result]:
    """Pass results on, and say every 30 s how many of them there are and how long the others will take."""
    started = last = time.monotonic()
    for count, result in enumerate(results, 1):
        yield result
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            say(f"{count} of {total} {what}, {(now - started) * (total - count) / count:.0f} s left")


@contextmanager
def _showing(
    totals: Mapping[StageName, int], labels: Mapping[StageName, str], stream: TextIO
) -> Iterator[Observer]:
    if not stream.isatty():
        yield Lines(totals, labels, stream)
        return
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(file=stream)) as bars:
        yield Bars(bars, totals, labels)


class _RateColumn(ProgressColumn):
    """Views for each second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f} views/s")


class Bars:
    """A bar for each stage."""

    def __init__(
        self, bars: Progress, totals: Mapping[StageName, int], labels: Mapping[StageName, str]
    ) -> None:
        self._bars = bars
        self._labels = labels
        self._tasks = {stage: bars.add_task(labels[stage], total=total) for stage, total in totals.items()}

    def advance(self, stage: StageName, records: int) -> None:
        if stage in self._tasks:
            self._bars.advance(self._tasks[stage], records)

    def finish(self, report: ShardReport) -> None:
        if report.rejected:
            self._bars.console.print(_failures(report, self._labels), highlight=False)


class Lines:
    """A line every 30 s, for log files."""

    def __init__(
        self, totals: Mapping[StageName, int], labels: Mapping[StageName, str], stream: TextIO
    ) -> None:
        self._totals = totals
        self._labels = labels
        self._stream = stream
        self._counts: Counter[StageName] = Counter()
        self._started = self._last = time.monotonic()

    def advance(self, stage: StageName, records: int) -> None:
        self._counts[stage] += records
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            parts = (self._state(name, now - self._started) for name in self._totals)
            print(" | ".join(parts), file=self._stream, flush=True)

    def finish(self, report: ShardReport) -> None:
        if report.rejected:
            print(_failures(report, self._labels), file=self._stream, flush=True)

    def _state(self, stage: StageName, elapsed_s: float) -> str:
        count, total = self._counts[stage], self._totals[stage]
        rate = count / elapsed_s
        left = f", {(total - count) / rate:.0f} s left" if rate and total > count else ""
        return f"{self._labels[stage]} {count}/{total} views, {rate:.1f}/s{left}"


@dataclass(slots=True)
class _Sums:
    """What a stage has committed."""

    rows: int = 0
    seconds: float = 0.0
    busy_s: float = 0.0


class Tally:
    """Adds up what was committed."""

    def __init__(self, labels: Mapping[StageName, str]) -> None:
        self._labels = labels
        self._sums: dict[StageName, _Sums] = {}
        self._started = time.monotonic()

    def advance(self, stage: StageName, records: int) -> None:
        """Ignore what is not committed yet."""

    def finish(self, report: ShardReport) -> None:
        if report.stage == CAPTION and report.busy_s is None:
            return  # views that became data without captions
        sums = self._sums.setdefault(report.stage, _Sums())
        sums.rows += report.rows
        sums.seconds += report.seconds
        sums.busy_s += report.busy_s or 0.0

    def summary(self) -> Iterator[str]:
        """Say of each stage how fast it was, and how long its device had no input.

        The device's waiting is all time of its workers in which it did not work, such as that of writing.
        """
        elapsed_s = max(time.monotonic() - self._started, 1e-9)
        for stage, sums in self._sums.items():
            speed = f"{quantity(sums.rows, 'view')} in {elapsed_s:.1f} s, {sums.rows / elapsed_s:.1f} views/s"
            line = f"{self._labels[stage]}: {speed}"
            if sums.busy_s:
                line += f"; the device waited for {1 - sums.busy_s / sums.seconds:.0%} of the time"
            yield line


class Both:
    """Passes everything on to two observers."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self._observers = (first, second)

    def advance(self, stage: StageName, records: int) -> None:
        for observer in self._observers:
            observer.advance(stage, records)

    def finish(self, report: ShardReport) -> None:
        for observer in self._observers:
            observer.finish(report)


def _failures(report: ShardReport, labels: Mapping[StageName, str]) -> str:
    failures = quantity(report.rejected, "failure")
    return f"{labels[report.stage]}: shard {report.shard} committed with {failures}"
