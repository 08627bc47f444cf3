"""A plan in words: what `mvcap plan` and `build-all --dry-run` print."""

from collections.abc import Iterable, Sequence
from typing import Final

import psutil

from mvcap.quantities import duration, quantity
from pipelines.counting import SourceCount
from pipelines.doctor import Finding
from pipelines.estimating import Estimate, Work

DEVICES: Final = ("CPU", "GPU")
"""Columns of the table: time of one core, or of one GPU with its process."""


def describe_plan(estimate: Estimate, findings: Iterable[Finding]) -> str:
    """Say what a recipe takes and what is missing here."""
    counted = [["source", "objects", "views", ""], *map(_source_line, estimate.sources)]
    total = ["together", _number(estimate.objects), _number(estimate.views), _incomplete(estimate)]
    worked = [
        ["stage", "views", "done", *(f"{device} time" for device in DEVICES), ""],
        *map(_work_line, estimate.work),
    ]
    lines = [
        estimate.name,
        *_columns([*counted, *([total] if len(estimate.sources) > 1 else [])]),
        "",
        *_columns(worked),
        *_time_here(estimate),
        "",
        "rates:",
        *(f"  {work.stage:8} {work.basis}" for work in estimate.work),
        "",
        f"disk: {_size(estimate)}",
        "",
        "on this machine, without the network:",
        *map(str, findings),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _source_line(count: SourceCount) -> list[str]:
    how = {
        "counted": "counted here",
        "expected": "not here: the recipe's own number",
        "unknown": "not here, and the recipe gives no number",
    }[count.how]
    kind = "to render" if count.rendered else "pictures"
    return [count.source, _number(count.objects), _number(count.views), f"{kind}, {how}"]


def _incomplete(estimate: Estimate) -> str:
    return "" if all(count.views is not None for count in estimate.sources) else "at least"


def _work_line(work: Work) -> list[str]:
    times = [
        "unknown" if work.device in (device, "unknown") and work.hours is None else _time(work, device)
        for device in DEVICES
    ]
    rate = "" if work.seconds_per_view is None else f"{work.seconds_per_view:.2g} s a view"
    return [work.stage, _number(work.views), _number(work.done), *times, rate]


def _time(work: Work, device: str) -> str:
    return "-" if work.device != device or work.hours is None else duration(3600 * work.hours)


def _time_here(estimate: Estimate) -> Iterable[str]:
    cores = psutil.cpu_count() or 1
    if hours := estimate.hours("CPU") / cores:
        amount = f"{hours / 24:,.0f} days" if hours >= 48 else duration(3600 * hours)
        yield f"the known CPU time is {amount} on the {quantity(cores, 'core')} of this machine"


def _size(estimate: Estimate) -> str:
    if estimate.bytes is None:
        return "unknown"
    size = estimate.bytes
    known = f"{size / 1e9:,.0f} GB" if size >= 1e10 else f"{size / 1e6:,.1f} MB"
    if not estimate.bytes_unknown:
        return known
    return f"{known}, and the pictures of {', '.join(estimate.bytes_unknown)}, whose sizes are unknown"


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """Align a table; names to the left, numbers to the right, the last column as it is."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    for first, *numbers, last in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells, last])
