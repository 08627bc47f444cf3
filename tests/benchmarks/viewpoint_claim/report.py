"""What the experiment prints: each row's difference to the base that it was tuned from."""

from collections.abc import Mapping, Sequence

import numpy as np

from viewpoint_claim.evaluation import CLEAN, DAMAGED, ODD, Exam, Marks
from viewpoint_claim.metrics import clustered_interval, mean_and_deviation
from viewpoint_claim.run import Result

HEADER = (
    f"{'':42} {'clean':>11} {'2D-OOD':>11} {'viewpoint':>11} {'95 %':>13} |"
    f" {'unseen: clean':>13} {'viewpoint':>11} | {'spread':>6}  share"
)
WANTED = {CLEAN: -0.5, DAMAGED: -1.0, ODD: 10.0}
"""Differences to the base."""


def write_table(bases: Sequence[Result], exams: Sequence[Exam], rows: Mapping[str, Sequence[Result]]) -> str:
    """Write the table of one or more seeds, each with its own base and exam, in the order of the results."""
    base = [result.marks for result in bases]
    lines = ["Pre-trained, accuracy in %, mean and standard deviation over seeds", HEADER]
    lines.append(write_line("pre-trained on frontal views", base, exams))
    for title, tuned_only in (
        ("weights interpolated, share chosen on validation objects", False),
        ("as tuned", True),
    ):
        lines += ["", f"Difference to the pre-trained model, in points: {title}"]
        for name, results in rows.items():
            marks = [result.tuned if tuned_only else result.marks for result in results]
            shares = [1.0 if tuned_only else result.share for result in results]
            lines.append(
                write_line(name, marks, exams, base=base) + " " + " ".join(f"{share:g}" for share in shares)
            )
    return "\n".join(lines)


def write_anchor_figures(rows: Mapping[str, Sequence[Result]]) -> str:
    """Write what was told of kept anchors, as means over refreshes and seeds; empty where none were kept."""
    lines = []
    for name, results in rows.items():
        told = {
            figure: float(np.mean([result.told[figure] for result in results])) for figure in results[0].told
        }
        if told:
            figures = ", ".join(f"{figure} {value:.3f}" for figure, value in told.items())
            lines.append(f"{name.strip(' +'):40} {figures}")
    return "\n".join(lines)


def write_line(
    name: str, marks: Sequence[Marks], exams: Sequence[Exam], *, base: Sequence[Marks] | None = None
) -> str:
    """Write a row's accuracies, or their differences to `base`."""

    def cell(kind: int, *, unseen: bool | None = None) -> str:
        values = [one.accuracy(exam, kind, unseen=unseen) for one, exam in zip(marks, exams, strict=True)]
        if base is not None:
            before = [one.accuracy(exam, kind, unseen=unseen) for one, exam in zip(base, exams, strict=True)]
            values = [after - earlier for after, earlier in zip(values, before, strict=True)]
        mean, deviation = mean_and_deviation(values)
        sign = "+" if base is not None else ""
        return f"{mean:{sign}.1f} ±{deviation:4.1f}" if len(values) > 1 else f"{mean:{sign}.1f}"

    low, high = interval(marks, exams, base=base)
    spread = float(np.mean([one.spread for one in marks]))
    return (
        f"{name:42} {cell(CLEAN):>11} {cell(DAMAGED):>11} {cell(ODD):>11} {f'{low:.1f}..{high:.1f}':>13} |"
        f" {cell(CLEAN, unseen=True):>13} {cell(ODD, unseen=True):>11} | {spread:6.3f} "
    )


def interval(
    marks: Sequence[Marks], exams: Sequence[Exam], *, base: Sequence[Marks] | None
) -> tuple[float, float]:
    """Return the interval of the viewpoint-OOD column, over all seeds, with objects as the units.

    An object that several seeds test is one unit.
    """
    values, objects = [], []
    for index, (one, exam) in enumerate(zip(marks, exams, strict=True)):
        odd = exam.kinds == ODD
        right = one.right[odd].astype(float)
        values.append(100 * (right if base is None else right - base[index].right[odd]))
        objects.append(exam.objects[odd])
    return clustered_interval(np.concatenate(values), np.concatenate(objects))


def reaches(results: Sequence[Result], bases: Sequence[Result], exams: Sequence[Exam]) -> bool:
    """Tell whether the means over seeds are as wanted of viewpoint-OOD, clean and 2D-OOD together."""
    return all(
        np.mean(
            [
                result.marks.accuracy(exam, kind) - base.marks.accuracy(exam, kind)
                for result, base, exam in zip(results, bases, exams, strict=True)
            ]
        )
        >= wanted
        for kind, wanted in WANTED.items()
    )
