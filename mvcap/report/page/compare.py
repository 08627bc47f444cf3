"""The page of two datasets side by side."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mvcap.report.captions import caption_rows
from mvcap.report.page.charts import Bar, share_bar
from mvcap.report.page.contents import Contents, Row
from mvcap.report.page.facts import Facts
from mvcap.report.page.pairs import Pairs
from mvcap.report.page.payload import page_data, view_numbers
from mvcap.report.page.worst import Fault
from mvcap.report.page.writing import render_page

SCRIPTS: Final = ("elements.js", "theme.js", "data.js", "sprites.js", "pages.js", "pairs.js", "compare.js")
MOST_CATEGORIES: Final = 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table with a column for each dataset."""

    name: str
    first: str
    second: str

    @property
    def differs(self) -> bool:
        return self.first != self.second


def compare_page(first: Facts, second: Facts, pairs: Pairs) -> bytes:
    """Write the whole page, as UTF-8."""
    contents = pairs.first, pairs.second
    numbers = [view_numbers(one) for one in contents]
    views = [[one.views[keys[place]] for keys in pairs.keys] for place, one in enumerate(contents)]
    rows = [(one.row, other.row) for one, other in zip(*views, strict=True)]
    data = {
        "first": page_data(pairs.first, folder=first.folder),
        "second": page_data(pairs.second, folder=second.folder),
        "pairs": [
            [numbers[0][one], numbers[1][other], int(a.digest is not None and a.digest == b.digest)]
            for (one, other), a, b in zip(pairs.keys, *views, strict=True)
        ],
        "sameViews": pairs.same_views,
    }
    return render_page(
        "compare.html",
        SCRIPTS,
        data,
        first=first,
        second=second,
        pairs=pairs,
        overview=list(_overview(first, second, *contents)),
        settings=_joined(first.settings, second.settings),
        figures=_figures(first, second),
        elevations=list(_elevations(*contents)),
        agreement=list(_agreement(rows)) if pairs.same_views else [],
        categories=_categories(*contents),
        worst=[_worst(one) for one in contents],
    )


def _overview(first: Facts, second: Facts, *contents: Contents) -> Iterator[Line]:
    facts = first, second
    told = {
        "objects": [one.done for one in facts],
        "views": [one.views for one in facts],
        "captions": [one.views - one.uncaptioned for one in facts],
        "categories": [len(one.counts.categories) for one in contents],
        "failures": [len(one.failures) for one in facts],
    }
    for name, (one, other) in told.items():
        yield Line(name, f"{one:,}", f"{other:,}")


def _joined(first: Mapping[str, str], second: Mapping[str, str]) -> list[Line]:
    """Put two tables side by side; what only one of them has is a dash in the other."""
    return [Line(name, first.get(name, "–"), second.get(name, "–")) for name in {**first, **second}]


def _figures(first: Facts, second: Facts) -> list[Line]:
    told = [dict(caption_rows(one.figures, one.control)) if one.figures else {} for one in (first, second)]
    return _joined(*told)


def _elevations(first: Contents, second: Contents) -> Iterator[tuple[Bar, Bar]]:
    """Yield, for each bin that both have, how many captions name their category."""
    other = {name: share for name, share, _ in second.counts.named_by_elevation()}
    for name, share, _ in first.counts.named_by_elevation():
        if name in other:
            yield share_bar(name, share), share_bar(name, other[name])


def _agreement(rows: Sequence[tuple[Row, Row]]) -> Iterator[tuple[str, int]]:
    """Count what became of the compared captions."""
    captioned = [(one, other) for one, other in rows if None not in (one["caption"], other["caption"])]
    yield "the same words in both", sum(one["caption"] == other["caption"] for one, other in captioned)
    judged = [
        (one["category_match"] is not None, other["category_match"] is not None)
        for one, other in captioned
        if None not in (one["caption_flags"], other["caption_flags"])
    ]
    named = Counter(judged)
    yield "category named in both", named[True, True]
    yield "named in the first only", named[True, False]
    yield "named in the second only", named[False, True]
    yield "named in neither", named[False, False]


def _categories(first: Contents, second: Contents) -> dict[str, Any]:
    """Tell which categories only one dataset has, and which differ most in their number of views."""
    one, other = first.counts.categories, second.counts.categories
    shared = sorted(one.keys() & other.keys(), key=lambda name: (-abs(one[name] - other[name]), name))
    longest = max([*one.values(), *other.values()], default=1)
    bars = [
        (
            Bar(name, f"{one[name]:,}", one[name] / longest),
            Bar(name, f"{other[name]:,}", other[name] / longest),
        )
        for name in shared[:MOST_CATEGORIES]
    ]
    return {
        "bars": bars,
        "shared": len(shared),
        "first": sorted(one.keys() - other.keys()),
        "second": sorted(other.keys() - one.keys()),
    }


def _worst(contents: Contents) -> list[tuple[int, Row, Fault]]:
    numbers = view_numbers(contents)
    return [(numbers[key], contents.views[key].row, fault) for fault, key in contents.worst_captions]
