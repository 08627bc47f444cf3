"""A plan in words: what `mvcap plan` and `build-all --dry-run` print."""

from collections.abc import Iterable, Sequence

import psutil

from pipelines.counting import SourceCount
from pipelines.doctor import Finding
from pipelines.estimating import Estimate, Work

HOURS_OF = {"CPU": "CPU hours", "GPU": "GPU hours"}


def describe_plan(estimate: Estimate, findings: Iterable[Finding]) -> str:
    """Say what a recipe takes and what is missing here."""
    counted = [["source", "objects", "views", ""], *map(_source_line, estimate.sources)]
    total = ["together", _number(estimate.objects), _number(estimate.views), _incomplete(estimate)]
    worked = [["stage", "views", "done", *HOURS_OF.values(), ""], *map(_work_line, estimate.work)]
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
    hours = [
        "unknown" if work.device in (device, "unknown") and work.hours is None else _hours(work, device)
        for device in HOURS_OF
    ]
    rate = "" if work.seconds_per_view is None else f"{work.seconds_per_view:.2g} s a view"
    return [work.stage, _number(work.views), _number(work.done), *hours, rate]


def _hours(work: Work, device: str) -> str:
    if work.device != device or work.hours is None:
        return "-"
    return f"{work.hours:,.0f}" if work.hours >= 10 else f"{work.hours:.2g}"


def _time_here(estimate: Estimate) -> Iterable[str]:
    cores = psutil.cpu_count() or 1
    if hours := estimate.hours("CPU") / cores:
        amount = f"{hours / 24:,.0f} days" if hours >= 48 else f"{hours:.2g} hours"
        yield f"the known CPU hours are {amount} on the {cores} cores of this machine"


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
