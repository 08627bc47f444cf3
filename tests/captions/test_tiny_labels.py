"""What the small captioner is taught to say."""

import numpy as np
import pytest

from captions.tiny.labels import dominant_colour, is_between_phrases, name_colours, view_phrase
from captions.tiny.vocabulary import COLOURS, VIEW_PHRASES


@pytest.mark.parametrize(
    ("elevation_deg", "from_front_deg", "phrase"),
    [
        (10, None, "from the side"),
        (36, None, "from above"),
        (36, 0, "from above"),
        (10, 0, "from the front"),
        (10, 359, "from the front"),
        (34, -49, "from the front"),
        (10, 51, "from the side"),
        (10, 90, "from the side"),
        (10, 180, "from behind"),
        (10, 131 - 720, "from behind"),
    ],
)
def test_view_is_named_by_the_camera(elevation_deg: float, from_front_deg: float | None, phrase: str):
    assert view_phrase(elevation_deg, from_front_deg) == phrase


def test_every_view_has_a_phrase_of_the_vocabulary():
    phrases = {view_phrase(e, t) for e in range(0, 91, 5) for t in [*range(-360, 720, 15), None]}
    assert phrases == set(VIEW_PHRASES)


@pytest.mark.parametrize(
    ("elevation_deg", "from_front_deg", "between"),
    [
        (29, None, False),
        (31, None, True),
        (39, 0, True),
        (41, None, False),
        (10, 39, False),
        (10, -41, True),
        (10, 59, True),
        (10, 90, False),
        (10, 121, True),
        (10, 141, False),
        (60, 50, False),
    ],
)
def test_cameras_near_the_border_of_two_phrases_are_told(
    elevation_deg: float, from_front_deg: float | None, between: bool
):
    assert is_between_phrases(elevation_deg, from_front_deg) is between


@pytest.mark.parametrize("from_front_deg", [None, *range(-180, 541, 7)])
def test_only_cameras_in_between_change_their_phrase_by_a_small_move(from_front_deg: float | None):
    for elevation_deg in (5.0, 29.0, 33.0, 37.0, 45.0):
        moved = [(elevation_deg + 4, from_front_deg)]
        if from_front_deg is not None:
            moved += [(elevation_deg, from_front_deg + turn) for turn in (-9, 9)]
        if not is_between_phrases(elevation_deg, from_front_deg):
            assert {view_phrase(*camera) for camera in moved} == {view_phrase(elevation_deg, from_front_deg)}


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((200, 20, 20), "red"),
        ((230, 130, 20), "orange"),
        ((240, 220, 30), "yellow"),
        ((30, 140, 40), "green"),
        ((40, 70, 180), "blue"),
        ((110, 40, 160), "purple"),
        ((240, 120, 180), "pink"),
        ((110, 65, 30), "brown"),
        ((225, 205, 170), "beige"),
        ((15, 15, 15), "black"),
        ((110, 110, 112), "grey"),
        ((240, 240, 240), "white"),
        ((170, 170, 168), "white"),
    ],
)
def test_colour_has_the_name_that_people_give_it(rgb: tuple[int, int, int], name: str):
    assert COLOURS[name_colours(np.array([rgb], np.uint8))[0]] == name


def test_only_the_foreground_counts():
    rgba = np.zeros((10, 10, 4), np.uint8)
    rgba[..., :3] = (0, 0, 255)
    rgba[:2] = (200, 20, 20, 255)
    rgba[2, :5] = (240, 240, 240, 255)
    name, share = dominant_colour(rgba)
    assert (name, share) == ("red", pytest.approx(20 / 25))


def test_empty_picture_has_no_clear_colour():
    assert dominant_colour(np.zeros((4, 4, 4), np.uint8))[1] == 0
