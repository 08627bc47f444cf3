"""Agreement between the views of an object and variety over a dataset, against values computed by hand."""

from typing import Any

import pytest

from captions.measures import DatasetMeasures, measure_object


def row(
    caption: str, match: str | None = "exact", other: str | None = None, **changes: Any
) -> dict[str, Any]:
    return {
        **{"category": "chair", "caption": caption, "category_match": match, "other_category": other},
        **{"caption_flags": [], "caption_retried": False, "clip_score": None},
        **changes,
    }


def test_agreement_is_the_share_of_the_commonest_among_those_that_name_any():
    views = [
        row("a red chair"),
        row("a red and grey chair", "synonym"),
        row("a gray table", None, "table"),
        row("a thing", None),
    ]
    measures = measure_object(views)
    assert measures.category_named == 2 / 4
    assert measures.category_agreement == pytest.approx(2 / 3)
    assert measures.colour_agreement == pytest.approx(2 / 3), "red twice, and grey is gray"
    assert measures.identical_captions == 0


def test_one_view_alone_agrees_with_nobody():
    measures = measure_object([row("a red chair"), row("a thing", None)])
    assert (measures.category_agreement, measures.colour_agreement) == (None, None)


def test_the_order_of_views_does_not_matter():
    views = [row("a red chair"), row("a blue chair"), row("a blue chair"), row("a bed", None, "bed")]
    assert measure_object(views) == measure_object(views[::-1])


def test_identical_captions_of_one_object_are_counted_all():
    views = [row("a red chair"), row("a red chair"), row("a blue chair"), row("A red chair")]
    assert measure_object(views).identical_captions == 2 / 4


def test_a_dataset_is_counted_over_its_objects():
    measures = DatasetMeasures()
    measures.add([row("a red chair"), row("a red bed", None, "bed", caption_flags=["cut"])])
    measures.add([row("a red chair", "plural", caption_retried=True), row("a red chair here", "synonym")])
    figures = measures.figures()
    assert (figures.captions, figures.judged, figures.retried, figures.named_instead) == (4, 4, 1, 1)
    assert figures.matches == {"exact": 1, "plural": 1, "synonym": 1}
    assert figures.flags == {"cut": 1}
    assert figures.identical == 2 / 4
    assert figures.distinct_2 == 4 / 9, "a red, red chair, red bed, chair here of nine pairs"
    assert figures.category_agreement == pytest.approx((1 / 2 + 1) / 2)
    assert figures.colour_agreement == 1


def test_captions_that_nobody_judged_count_for_variety_alone():
    measures = DatasetMeasures()
    old = measures.add([row("a chair", None, caption_flags=None), row("a chair", None, caption_flags=None)])
    figures = measures.figures()
    assert (figures.captions, figures.judged, figures.identical) == (2, 0, 1.0)
    assert (old.category_named, old.category_agreement) == (None, None)


def test_captions_of_one_word_have_no_pairs():
    measures = DatasetMeasures()
    measures.add([row("chair")])
    assert measures.figures().distinct_2 == 0
