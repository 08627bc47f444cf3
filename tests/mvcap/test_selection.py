"""The rule of the filter, against hand-computed cases and a slow oracle."""

import numpy as np
import pytest

from mvcap.selection import VERDICTS, Nearest, Rule, Selection, find_nearest, select

EVERYTHING = Rule(min_similarity=-1, min_margin=0, agreement="ignored", per_category=None, keep=None)
AXES = np.eye(3, dtype=np.float32)  # three categories


def nearest(*pairs: tuple[int, float, float]) -> Nearest:
    """Objects by category, similarity, and similarity to the second."""
    first, similarity, second = zip(*pairs, strict=True)
    return Nearest(
        np.array(first, np.int32),
        (np.array(first, np.int32) + 1) % 3,
        np.array(similarity, np.float32),
        np.array(second, np.float32),
    )


def verdicts(selection: Selection) -> list[str]:
    return [VERDICTS[code] for code in selection.verdicts]


def rule(**changes: object) -> Rule:
    fields = {name: getattr(EVERYTHING, name) for name in EVERYTHING.__slots__}
    return Rule(**{**fields, **changes})  # type: ignore[arg-type]


def test_similarities_are_cosines_whatever_the_scale_and_the_number_type():
    for kind, scale in ((np.int8, 10), (np.float16, 0.25), (np.float32, 1000)):
        found = find_nearest((np.array([[3, 4, 0], [0, -1, 0]]) * scale).astype(kind), AXES)
        assert found.first.tolist() == [1, 0]
        assert found.second.tolist() == [0, 2]
        assert found.similarity.tolist() == pytest.approx([0.8, 0.0])
        assert found.second_similarity.tolist() == pytest.approx([0.6, 0.0])
        assert found.margin.tolist() == pytest.approx([0.2, 0.0])


def test_the_two_nearest_are_those_of_a_full_sort():
    rng = np.random.default_rng(0)
    features, vectors = rng.integers(-90, 91, (50, 16), np.int8), rng.standard_normal((20, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = find_nearest(features, vectors.astype(np.float32))
    for row, feature in enumerate(features.astype(float)):
        cosines = vectors @ feature / np.linalg.norm(feature)
        one, two = np.argsort(-cosines)[:2]
        assert (found.first[row], found.second[row]) == (one, two)
        assert found.margin[row] == pytest.approx(cosines[one] - cosines[two], abs=2e-5)


def test_of_equally_near_categories_the_first_count():
    found = find_nearest(np.array([[1, 1, 1]], np.int8), AXES)
    assert (found.first[0], found.second[0], found.margin[0]) == (0, 1, 0)


def test_rows_without_a_direction_are_rejected_and_harm_no_other():
    features = np.array([[0, 0, 0], [np.nan, 1, 0], [np.inf, 0, 0], [0, 2, 0]], np.float32)
    found = find_nearest(features, AXES)
    assert np.isnan(found.similarity).tolist() == [True, True, True, False]
    assert verdicts(select(found, "abcd", EVERYTHING)) == ["bad_embedding"] * 3 + ["selected"]
    assert np.isnan(features[1, 0]), "the input is left as it was"


def test_with_a_single_category_every_margin_is_wide():
    found = find_nearest(np.array([[1, 1, 0]], np.int8), AXES[:1])
    assert found.second.tolist() == [-1]
    assert found.margin[0] > 1


def test_thresholds_are_reached_by_equality_and_the_first_failure_is_the_reason():
    found = nearest((0, 0.5, 0.4), (0, 0.25, 0.24), (0, 0.5, 0.45), (0, 0.24, 0.0))
    judged = select(found, "abcd", rule(min_similarity=0.25, min_margin=0.1))
    assert verdicts(judged) == ["selected", "low_margin", "low_margin", "low_similarity"]
    assert judged.selected.tolist() == [0]
    assert judged.threshold == 0.25


def test_agreement_is_required_or_waives_the_margin():
    found = nearest((0, 0.5, 0.1), (0, 0.5, 0.5), (0, 0.5, 0.5), (0, 0.5, 0.1))
    agrees = np.array([True, True, False, False])
    required = select(found, "abcd", rule(min_margin=0.1, agreement="required"), agrees)
    assert verdicts(required) == ["selected", "low_margin", "low_margin", "no_agreement"]
    waived = select(found, "abcd", rule(min_margin=0.1, agreement="waives_margin"), agrees)
    assert verdicts(waived) == ["selected", "selected", "low_margin", "selected"]


def test_a_full_category_keeps_its_most_similar_and_equal_ones_by_id():
    found = nearest((0, 0.3, 0), (0, 0.5, 0), (0, 0.3, 0), (1, 0.1, 0))
    judged = select(found, ["z", "b", "a", "c"], rule(per_category=2))
    assert verdicts(judged) == ["over_limit", "selected", "selected", "selected"]


def test_keep_finds_the_threshold_of_a_wanted_count():
    found = nearest((0, 0.3, 0), (1, 0.5, 0), (2, 0.4, 0), (0, 0.2, 0))
    judged = select(found, "abcd", rule(keep=2))
    assert verdicts(judged) == ["beyond_keep", "selected", "selected", "beyond_keep"]
    again = select(found, "abcd", rule(min_similarity=judged.threshold))
    assert again.selected.tolist() == judged.selected.tolist()


def test_keep_counts_what_the_limit_of_a_category_leaves():
    found = nearest((0, 0.9, 0), (0, 0.8, 0), (0, 0.7, 0), (1, 0.1, 0))
    judged = select(found, "abcd", rule(per_category=1, keep=2))
    assert judged.selected.tolist() == [0, 3]


def test_more_than_there_are_keeps_all_and_leaves_the_threshold():
    judged = select(nearest((0, 0.3, 0)), "a", rule(keep=5))
    assert verdicts(judged) == ["selected"]
    assert judged.threshold == -1


def test_a_verdict_does_not_depend_on_the_order_or_on_the_chunks():
    rng = np.random.default_rng(1)
    features = rng.integers(-3, 4, (300, 8), np.int8)  # coarse: many ties
    vectors = rng.standard_normal((5, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = [f"{n:03d}" for n in rng.permutation(300)]
    strict = rule(min_margin=0.05, per_category=40, keep=100)
    whole = select(find_nearest(features, vectors), ids, strict)
    chosen = {ids[row] for row in whole.selected}
    order = rng.permutation(300)
    parts = [find_nearest(features[order][start : start + 37], vectors) for start in range(0, 300, 37)]
    shuffled = [ids[row] for row in order]
    again = select(Nearest.joined(parts), shuffled, strict)
    assert {shuffled[row] for row in again.selected} == chosen
    assert len(chosen) == 100


def test_nothing_gives_nothing():
    assert select(Nearest.joined([]), [], rule(keep=3, per_category=1)).selected.tolist() == []
