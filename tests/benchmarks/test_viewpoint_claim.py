"""The pure parts of the experiment about viewpoints: splits, viewpoints, measures, corruptions, words."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mvcap.lookalikes import PORTRAIT_SHAPE
from training.config import OptimiserConfig
from viewpoint_claim import run
from viewpoint_claim.corruptions import CORRUPTIONS
from viewpoint_claim.data import NO_COLOUR, Pictures
from viewpoint_claim.evaluation import CLEAN, DAMAGED, ODD, Exam, Marks
from viewpoint_claim.metrics import clustered_interval, is_right, relative_spread
from viewpoint_claim.objects import (
    UNSEEN_OBJECTS,
    deal,
    draw_views,
    is_frontal,
    lookalikes,
    split_objects,
)
from viewpoint_claim.report import write_anchor_figures, write_table
from viewpoint_claim.rows import ROWS, SWITCHES
from viewpoint_claim.tiny_clip import Pretraining
from viewpoint_claim.wording import CONTEXT, Tokenizer, write_caption

CATEGORIES = {
    f"{name}-{index}": name
    for name, count in zip("abcdefgh", range(4, 36, 4), strict=True)
    for index in range(count)
}


def test_every_category_is_pre_trained_and_tested_and_some_are_never_tuned_with():
    split = split_objects(CATEGORIES, seed=0)
    parts = {name: Counter() for name in "abcdefgh"}
    for uid, part in split.part.items():
        parts[CATEGORIES[uid]][part] += 1
    assert split.part.keys() == CATEGORIES.keys()
    assert all(counts["pretraining"] and counts["test"] for counts in parts.values())
    assert {name for name, counts in parts.items() if not counts["tuning"]} == split.unseen
    unseen = sum(CATEGORIES[uid] in split.unseen for uid in CATEGORIES)
    assert 0 < unseen <= UNSEEN_OBJECTS * len(CATEGORIES)


def test_the_split_depends_on_its_seed_and_not_on_the_order_of_the_objects():
    turned = dict(reversed(CATEGORIES.items()))
    assert split_objects(turned, seed=0) == split_objects(CATEGORIES, seed=0)
    assert split_objects(CATEGORIES, seed=1) != split_objects(CATEGORIES, seed=0)


def test_dealt_parts_are_within_one_of_their_shares():
    shares = {"pretraining": 0.5, "validation": 0.2, "test": 0.3}
    for count in range(1, 30):
        dealt = Counter(deal([str(index) for index in range(count)], shares).values())
        assert all(abs(dealt[part] - share * count) <= 1 for part, share in shares.items())


def test_frontal_views_come_first_and_odd_ones_are_never_near_the_front():
    views = draw_views("uid", 270.0, frontal=20, odd=200, seed=0)
    turns = [(view.azimuth_deg - 270 + 180) % 360 - 180 for view in views]
    frontal = [is_frontal(turn, view.elevation_deg) for turn, view in zip(turns, views, strict=True)]
    assert frontal == [True] * 20 + [False] * 200
    assert all(
        abs(turn) > 45 or view.elevation_deg > 40 for turn, view in zip(turns[20:], views[20:], strict=True)
    )
    assert views[20:25] == draw_views("uid", 270.0, frontal=3, odd=5, seed=0)[3:]


def test_of_two_lookalikes_the_first_stays():
    one, other = (np.random.default_rng(seed).integers(0, 256, PORTRAIT_SHAPE, np.uint8) for seed in (1, 2))
    assert lookalikes({"z": one.tobytes(), "b": other.tobytes(), "a": one.tobytes()}) == {"z": "a"}


def test_the_nearest_class_counts():
    features = np.array([[1, 0], [0.6, 0.8]], np.float32)
    classes = np.array([[0, 1], [1, 0]], np.float32)
    assert is_right(features, classes, np.array([1, 1])).tolist() == [True, False]


def test_relative_spread_is_the_share_of_the_variance_within_objects():
    features = np.array([[1.0, 0], [3.0, 0], [-1.0, 0], [-3.0, 0]], np.float32)
    objects = np.array([0, 0, 1, 1])
    assert relative_spread(features, objects) == pytest.approx(4 / 20)  # within 4 x 1², in all 2(1² + 3²)
    assert relative_spread(0.1 * features + 5, objects) == pytest.approx(4 / 20, rel=1e-4)
    assert relative_spread(features, np.array([0, 1, 0, 1])) == pytest.approx(1)


def test_an_interval_over_objects_is_wider_where_their_views_agree():
    objects = np.repeat(np.arange(50), 10)
    together = np.repeat(np.arange(50) % 2, 10).astype(float)
    apart = np.tile([0.0, 1.0], 250)
    low, high = clustered_interval(together, objects)
    assert low == pytest.approx(0.5 - 1.96 * 0.5 / 50**0.5, abs=0.02)
    assert high == pytest.approx(0.5 + 1.96 * 0.5 / 50**0.5, abs=0.02)
    assert clustered_interval(apart, objects) == (0.5, 0.5)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_a_picture_the_same_way_each_time(name):
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[20:44, 12:50] = [200, 90, 30]
    damaged = CORRUPTIONS[name](picture, np.random.default_rng(3))
    assert damaged.shape == picture.shape
    assert damaged.dtype == np.uint8
    assert np.abs(damaged.astype(int) - picture).mean() > 1
    assert (damaged == CORRUPTIONS[name](picture, np.random.default_rng(3))).all()


def test_the_end_of_a_text_has_its_highest_number_and_unknown_words_are_refused():
    tokenizer = Tokenizer(["street lamp", "bed"])
    texts = [write_caption("street lamp", 1, colour=0, phrase=2), "a bed"]
    tokens = tokenizer(texts)
    assert texts[0] == "a photo of a red street lamp seen from behind"
    assert tokens.shape == (2, CONTEXT)
    assert (tokens == tokenizer.end).sum(dim=1).tolist() == [1, 1]
    assert tokens.max().item() == tokenizer.end == tokenizer.size - 1
    with pytest.raises(KeyError):
        tokenizer(["a whale"])


@pytest.mark.slow
def test_every_row_tunes_the_base_of_its_seed_and_is_reported(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    objects = np.repeat(np.arange(48), 6)
    pictures = Pictures(
        rgba=rng.integers(0, 256, (len(objects), 64, 64, 4), np.uint8),
        objects=objects,
        frontal=np.tile([True, True, True, True, False, False], 48),
        colours=np.full(len(objects), NO_COLOUR),
        phrases=np.zeros(len(objects), np.int64),
        uids=[f"object-{index:02}" for index in range(48)],
        nouns=[f"thing{index % 6}" for index in range(48)],
    )
    pictures.save(tmp_path)
    monkeypatch.setattr(run, "Pretraining", lambda: Pretraining(OptimiserConfig(steps=1, warmup_steps=0)))
    monkeypatch.setattr(run, "SHARES", (0.4,))
    base = run.make_base(tmp_path, 0)
    known = [row.recipe for row in ROWS]
    switches = [row for row in SWITCHES if row.recipe not in known]  # the others are what they stand beside
    rows, results = [*ROWS, *switches], {}
    for row in rows:
        short = row.recipe.optimiser.model_copy(update={"steps": 2, "warmup_steps": 0})
        anchors = row.recipe.anchors.model_copy(update={"every_steps": 1})
        hurried = replace(row, recipe=replace(row.recipe, optimiser=short, anchors=anchors))
        results[row.name] = [run.run_row(tmp_path, base.validation[1.0], hurried, 0)]
    lines = write_table([base], [run.open_bench(tmp_path, 0).test], results).splitlines()
    assert len({result[0].tuned.spread for result in results.values()}) == len(rows), "two rows are one"
    assert sum(line.startswith(row.name) for row in rows for line in lines) >= 2 * len(rows)
    told = [line for line in write_anchor_figures(results).splitlines() if "bank_outliers_agree" in line]
    assert [line.split("  ")[0] for line in told] == ["anchors from a bank", "ours, anchors from a bank"]


def test_a_choice_takes_the_best_viewpoints_among_those_that_lose_little():
    kinds = np.repeat([CLEAN, DAMAGED, ODD], 200)
    exam = Exam(np.empty(0, np.uint8), kinds, np.arange(600), np.zeros(600), np.full(600, False), ["a"])

    def marks(*right: int) -> Marks:
        return Marks(np.concatenate([np.arange(200) < count for count in right]), 0.0)

    base = marks(100, 100, 100)
    by_share = {0.4: marks(101, 100, 104), 0.7: marks(99, 98, 110), 1.0: marks(90, 100, 150)}
    assert run.choose_share(exam, base, by_share) == 0.7
    assert run.choose_share(exam, base, {0.7: marks(90, 100, 150), 0.4: marks(97, 97, 101)}) == 0.4
