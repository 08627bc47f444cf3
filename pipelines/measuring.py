"""Measure a dataset's captions from its committed tables, one object at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from captions.measures import DatasetMeasures, ObjectMeasures
from captions.percentiles import ScoreGroups, elevation_bin
from mvcap import schema
from mvcap.commits import CAPTION
from mvcap.plan import Plan
from mvcap.report.captions import CaptionFigures
from mvcap.storage import Store
from mvcap.tables import open_table

COLUMNS: Final = (
    *("uid", "view_index", "category", "caption", "elevation_deg"),
    *("category_match", "other_category", "caption_flags", "caption_retried", "clip_score"),
)
"""What measures are made of; columns that an older version did not write count as null."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the captions of a dataset show together."""

    figures: CaptionFigures | None = None
    """None where no view has a caption."""
    objects: Mapping[str, ObjectMeasures] = field(default_factory=dict)
    """By uid; objects without captions are left out."""
    scores: ScoreGroups = field(default_factory=ScoreGroups)
    """Empty where no CLIP was asked for scores."""


def measure_captions(store: Store, plan: Plan) -> Measured:
    """Read every caption once and measure them against each other."""
    total, objects, scores = DatasetMeasures(), {}, ScoreGroups()
    for uid, rows in captioned_objects(store, plan):
        objects[uid] = total.add(rows)
        for row in _scored(rows):
            scores.add(row["category"], row["elevation_deg"], row["clip_score"])
    if not objects:
        return Measured()
    return Measured(replace(total.figures(), clip_scores=scores.medians()), objects, scores)


def score_rows(store: Store, plan: Plan, scores: ScoreGroups) -> Iterator[dict[str, Any]]:
    """Yield the rows of `caption_scores.parquet`, in the plan's order."""
    for _, rows in captioned_objects(store, plan):
        for row in _scored(rows):
            place = row["category"], row["elevation_deg"]
            yield {
                **{name: row[name] for name in ("uid", "view_index", "category", "clip_score")},
                "elevation_bin": elevation_bin(row["elevation_deg"]),
                "clip_percentile": scores.percentile(*place, row["clip_score"]),
            }


def _scored(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["clip_score"] is not None)


def captioned_objects(store: Store, plan: Plan) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield each object's uid and its captioned rows, without their pictures, in the plan's order."""
    for shard in plan.shards:
        commit = store.find_commit(CAPTION, shard)
        if commit is None or commit.file is None or commit.uncaptioned:
            continue
        with open_table(store.root / commit.file) as file:
            schema.check_version(file.schema_arrow, commit.file)
            present = [name for name in COLUMNS if name in file.schema_arrow.names]
            for group in range(file.num_row_groups):
                missing = dict.fromkeys(COLUMNS)
                rows = [missing | row for row in file.read_row_group(group, columns=present).to_pylist()]
                captioned = (row for row in rows if row["caption"] is not None)
                for uid, views in groupby(captioned, key=itemgetter("uid")):
                    yield uid, list(views)
