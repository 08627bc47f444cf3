"""Marks stand where the numbers say."""

from collections import Counter

import numpy as np
import pytest

from mvcap.report.page.charts import MOST_BARS, MOST_POINTS, camera_points, count_bars, equal_area, histogram
from mvcap.report.page.counts import LONGEST, Counts, elevation_bin


def test_bars_are_as_long_as_their_counts_and_the_rest_is_one():
    bars = count_bars({"a": 10, "b": 40, "c": 40})
    assert [(bar.label, bar.value, bar.share) for bar in bars] == [
        ("b", "40", 1),
        ("c", "40", 1),
        ("a", "10", 0.25),
    ]
    many = count_bars({f"{n:03}": 1000 + n for n in range(MOST_BARS + 2)})
    assert len(many) == MOST_BARS + 1
    assert (many[-1].label, many[-1].value) == ("2 others", "2,001")
    assert count_bars({}) == []


def test_a_histogram_has_a_column_for_every_length_between():
    columns = histogram({3: 5, 6: 10}, last=6)
    assert [(column.label, column.count, column.share) for column in columns] == [
        ("3", 5, 0.5),
        ("4", 0, 0),
        ("5", 0, 0),
        ("6+", 10, 1),
    ]
    assert histogram({}, last=9) == []


def test_directions_are_drawn_from_above_and_areas_are_kept():
    assert equal_area(123, 90) == pytest.approx((0, 0))
    assert equal_area(0, 0) == pytest.approx((1, 0))
    assert equal_area(90, 0) == pytest.approx((0, -1)), "azimuth 90 is drawn upwards"
    assert np.hypot(*equal_area(45, -90)) == pytest.approx(np.sqrt(2))
    half = np.degrees(np.arcsin(0.5))  # half of the hemisphere's area lies above 30°
    assert np.hypot(*equal_area(10, half)) ** 2 == pytest.approx(0.5)


def test_of_many_cameras_a_spread_is_drawn():
    points = camera_points([(0, 90 * n / 9999) for n in range(10_000)])
    assert len(points) == MOST_POINTS
    assert points[0] == pytest.approx((1, 0))
    assert points[-1][0] < 0.02


def row(caption: str | None, elevation: float | None, *, match: str | None = "exact", **columns) -> dict:
    known = {
        "category": "chair",
        "source": "folder",
        "split": "train",
        "license": None,
        "renderer": "blender",
    }
    judged = {"caption_flags": None if caption is None else [], "category_match": match, "flags": ["clipped"]}
    return known | judged | {"caption": caption, "elevation_deg": elevation} | columns


def test_all_rows_are_counted():
    counts = Counts()
    counts.add([row("a chair", 10.0), row("a chair from above", 80.0, match=None), row(None, 80.0)])
    counts.add([row("word " * 200, 90.0, flags=None, renderer=None, source="images"), row("a chair", None)])
    assert counts.views == 5
    assert counts.words == {2: 2, 4: 1, LONGEST: 1}
    assert counts.licenses == {"unknown": 5}
    assert (counts.checked, counts.image_flags) == (4, {"clipped": 4})
    assert counts.imported == Counter(images=1)
    assert list(counts.named_by_elevation()) == [("0° to 15°", 1.0, 1), ("75° to 90°", 0.5, 2)]


@pytest.mark.parametrize(
    ("elevation", "low"), [(0, 0), (14.99, 0), (15, 15), (90, 75), (-0.1, -15), (-90, -90)]
)
def test_elevations_fall_into_bins(elevation, low):
    assert elevation_bin(elevation) == low
