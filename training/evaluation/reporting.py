"""What an evaluation leaves behind: a table for people, JSON, a Parquet row for each picture, heat maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mvcap import files
from mvcap.quantities import quantity
from training.evaluation.angles import draw
from training.evaluation.evaluate import Result, retention
from training.pictures.dataset import DatasetPictures
from training.run_files import RESULTS


def collect(
    results: Sequence[Result], base: Mapping[str, Result], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything as plain values.

    Args:
        base: what the pretrained model did on sets of the same names; may be empty.
    """
    sets = []
    for result in results:
        told = result.to_json()
        if before := base.get(result.name):
            told |= {"base": before.to_json(), **retention(result, before)}
        sets.append(told)
    return {**facts, "sets": sets}


def write_report(folder: Path, report: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Write `results.json`, and for each set `NAME.parquet` and `NAME-angles.png`, if angles are known."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        with files.staged(folder / f"{result.name}.parquet") as path:
            pq.write_table(rows_of(result), path)
        if result.angles is not None:
            files.write_bytes(folder / f"{result.name}-angles.png", draw(result.angles, result.name))
    files.write_json(folder / RESULTS, dict(report))


def rows_of(result: Result) -> pa.Table:
    """Return a row for each picture: what it is, what the model saw, by how much, and from where."""
    pictures, table = result.pictures, result.pictures.table
    count = len(result.labels)
    columns: dict[str, Any] = {"key": [pictures.key(row) for row in range(count)]}
    if isinstance(pictures, DatasetPictures):
        columns["uid"] = [pictures.uid(int(number)) for number in table.object_index]
        columns["view_index"] = [pictures.view_index(row) for row in range(count)]
    names = pa.array(result.classes, pa.string())
    best = result.predictions.best.numpy()
    return pa.table(
        {
            **columns,
            "category": names.take(pa.array(result.labels)),
            "predicted": names.take(pa.array(best[:, 0])),
            "correct": result.right,
            "correct_top5": (best == result.labels[:, None]).any(axis=1),
            "margin": result.predictions.margin.numpy(),
            "azimuth_deg": pa.array(table.azimuth_deg, from_pandas=True),
            "elevation_deg": pa.array(table.elevation_deg, from_pandas=True),
        }
    )


def describe(report: Mapping[str, Any]) -> str:
    """Say a report as a table: percentages, with half the width of their 95 % intervals."""
    lines = [
        f"{'set':<24} {'classes':>7} {'pictures':>8} {'top-1':>13} {'top-5':>6}  against the pretrained model"
    ]
    for told in report["sets"]:
        line = (
            f"{told['name'][:24]:<24} {told['classes']:>7} {told['pictures']:>8} {_share(told['top1']):>13} "
            f"{100 * told['top5']['mean']:>6.1f}"
        )
        if "difference" in told:
            kept = "" if told["retention"] is None else f", {100 * told['retention']:.1f} % of it left"
            line += f"  {_signed(told['difference'])} on {_share(told['base']['top1'])}{kept}"
        lines.append(line)
        if (views := told["views_of_objects"]) is not None:
            objects = quantity(views["objects"], "object")
            lines.append(
                f"  {objects} with several views: {100 * views['always_right']:.1f} % right from every view, "
                f"consistency {100 * views['consistency']:.1f} %, spread within objects "
                f"{100 * views['spread']:.1f} % of all variance"
            )
    lines += _describe_suite(report) if "suite" in report else []
    return "\n".join(lines)


def _describe_suite(report: Mapping[str, Any]) -> list[str]:
    """Say the averages of a suite's groups, which of their sets are missing, and its gaps."""
    lines = []
    for told in report["groups"]:
        missing = f"; without {', '.join(told['missing'])}" if told["missing"] else ""
        lines.append(
            f"{told['name']}: {_percent(told)}, the mean of {', '.join(told['sets']) or 'nothing'}{missing}"
        )
    lines += [f"{told['name']}: {_percent(told)}" for told in report["gaps"]]
    return lines


def _percent(told: Mapping[str, Any]) -> str:
    """Say a top-1 and, where a pretrained model was evaluated, that model's before it."""
    if told["top1"] is None:
        return "-"
    before = "" if told["base_top1"] is None else f"{100 * told['base_top1']:.1f} -> "
    return f"{before}{100 * told['top1']:.1f}"


def _share(share: Mapping[str, float]) -> str:
    return f"{100 * share['mean']:.1f} ± {_half(share):.1f}"


def _signed(share: Mapping[str, float]) -> str:
    return f"{100 * share['mean']:+.1f} ± {_half(share):.1f}"


def _half(share: Mapping[str, float]) -> float:
    return 100 * float(np.maximum(share["high"] - share["mean"], share["mean"] - share["low"]))
