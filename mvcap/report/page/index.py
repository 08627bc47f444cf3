"""The report of one dataset: its facts and contents, laid out for the template."""

from collections.abc import Sequence
from typing import Any, Final

from mvcap.report.captions import caption_rows
from mvcap.report.page.charts import Bar, camera_points, count_bars, histogram, share_bar
from mvcap.report.page.contents import Contents, Key
from mvcap.report.page.counts import LONGEST
from mvcap.report.page.facts import Facts, Failure
from mvcap.report.page.payload import page_data, view_numbers
from mvcap.report.page.worst import Fault
from mvcap.report.page.writing import render_page

HERO: Final = 12
"""Pictures at the top, one of each category."""
MOST_FAILURES: Final = 500
"""With their logs; `failures.parquet` has the others too."""
SCRIPTS: Final = (
    *("elements.js", "theme.js", "data.js", "sprites.js", "details.js"),
    *("pages.js", "browser.js", "sphere.js", "turntable.js", "index.js"),
)


def index_page(facts: Facts, contents: Contents) -> bytes:
    """Write the whole page, as UTF-8."""
    counts = contents.counts
    cameras = [
        (row["azimuth_deg"], row["elevation_deg"])
        for key in contents.listed
        if (row := contents.views[key].row)["azimuth_deg"] is not None
    ]
    example = contents.listed[0] if contents.listed else ("UID", 0)
    return render_page(
        "index.html",
        SCRIPTS,
        page_data(contents, folder=facts.folder),
        facts=facts,
        counts=counts,
        hero=_hero(contents),
        listed=len(contents.listed),
        pictured=sum(contents.views[key].thumbnail is not None for key in contents.listed),
        licenses=count_bars(counts.licenses),
        sources=count_bars(counts.sources),
        splits=count_bars(counts.splits),
        reasons=count_bars(facts.reasons),
        categories=count_bars(counts.categories),
        lengths=histogram(counts.words, last=LONGEST),
        points=camera_points(cameras),
        below=any(elevation < 0 for _, elevation in cameras),
        figures=list(caption_rows(facts.figures, None)) if facts.figures else [],
        guidance=_guidance(facts),
        elevations=[
            share_bar(name, share, f" of {judged:,}") for name, share, judged in counts.named_by_elevation()
        ],
        image_flags=[
            share_bar(name, count / counts.checked) for name, count in counts.image_flags.most_common()
        ],
        worst_captions=_worst(contents, contents.worst_captions),
        worst_renders=_worst(contents, contents.worst_renders),
        scored=bool(facts.figures and facts.figures.clip_scores),
        failures=_objects_first(facts.failures)[:MOST_FAILURES],
        example_uid=example[0],
        example_view=example[1],
    )


def _hero(contents: Contents) -> list[tuple[int, str]]:
    """Take the first listed view of each of the first categories: its number and category."""
    numbers = view_numbers(contents)
    first: dict[str, int] = {}
    for uid, index in contents.listed:
        if contents.views[uid, index].thumbnail is not None:
            first.setdefault(contents.objects[uid].category, numbers[uid, index])
    return [(number, category) for category, number in first.items()][:HERO]


def _guidance(facts: Facts) -> list[Bar]:
    if facts.control is None:
        return []
    return [share_bar("with guidance", facts.control.guided), share_bar("without", facts.control.unguided)]


def _worst(contents: Contents, worst: Sequence[tuple[Fault, Key]]) -> list[tuple[int, str, str | None, Any]]:
    numbers = view_numbers(contents)
    rows = ((fault, key, contents.views[key].row) for fault, key in worst)
    return [(numbers[key], row["category"], row["caption"], fault.reasons) for fault, key, row in rows]


def _objects_first(failures: Sequence[Failure]) -> list[Failure]:
    """Put objects that failed before single views, each in the order of the plan."""
    return sorted(failures, key=lambda failure: failure.rejected.view_index is not None)
