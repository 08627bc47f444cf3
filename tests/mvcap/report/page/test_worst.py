"""The worst come first, whatever order they are met in, and no object fills the list alone."""

from mvcap.report.page.worst import SHOWN, Worst, caption_fault, render_fault

FINE = {
    "caption": "a chair",
    "caption_flags": [],
    "category_match": "exact",
    "other_category": None,
    "clip_score": None,
    "flags": [],
    "foreground_fraction": 0.3,
}


def test_a_fine_caption_has_no_fault_and_neither_has_one_that_nobody_judged():
    assert caption_fault(FINE) is None
    assert caption_fault(FINE | {"category_match": None, "caption_flags": None}) is None
    assert caption_fault(FINE | {"caption": None, "caption_flags": None}) is None


def test_naming_something_else_is_worse_than_naming_nothing_and_that_than_a_flag():
    other = caption_fault(FINE | {"category_match": None, "other_category": "lamp"})
    nothing = caption_fault(FINE | {"category_match": None})
    flagged = caption_fault(FINE | {"caption_flags": ["repeats"]})
    assert other.rank > nothing.rank > flagged.rank
    assert other.reasons == ("names 'lamp' instead",)
    assert nothing.reasons == ("does not name its category",)
    assert flagged.reasons == ("repeats",)


def test_among_equal_captions_the_lower_score_is_worse():
    low, high = (
        caption_fault(FINE | {"caption_flags": ["cut"], "clip_score": score}) for score in (0.1, 0.3)
    )
    assert low.rank > high.rank


def test_renders_are_ranked_by_flags_then_by_how_little_is_seen():
    burnt = render_fault(FINE | {"flags": ["over_exposed"]})
    small = render_fault(FINE | {"flags": ["tiny_subject"], "foreground_fraction": 0.01})
    smaller = render_fault(FINE | {"foreground_fraction": 0.02})
    assert burnt.rank > small.rank > smaller.rank > render_fault(FINE).rank
    assert small.reasons == ("tiny_subject", "covers 1.0%")
    assert render_fault(FINE | {"flags": None, "foreground_fraction": None}) is None


def test_the_worst_of_all_are_kept_two_of_an_object():
    worst = Worst(render_fault)
    for number in range(40):
        covered = (number * 17 % 40 + 1) / 100
        worst.add([FINE | {"uid": number, "foreground_fraction": covered + view / 1000} for view in range(3)])
    kept = [(row["uid"], row["foreground_fraction"]) for _, row in worst]
    assert len(kept) == SHOWN
    assert [fraction for _, fraction in kept] == sorted(fraction for _, fraction in kept)
    assert kept[:2] == [(0, 0.01), (0, 0.011)]
    assert kept[2][1] == 0.02, "the third view of the first object is left out"
