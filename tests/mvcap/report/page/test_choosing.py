"""A sample drawn by names: the same every time, of as many categories as there is room for."""

from collections import Counter

import pytest

from mvcap.dataset import DatasetObject
from mvcap.report.page.choosing import (
    PICTURES,
    TURNED_VIEWS,
    VIEWS_EACH,
    VIEWS_OF_A_TURNTABLE,
    choose,
    order_objects,
)


def things(count: int, *, categories: int = 1, views: int = 10) -> list[DatasetObject]:
    return [
        DatasetObject(
            f"thing-{n}",
            f"category-{n % categories}",
            "train",
            views,
            0,
            "folder",
            str(n),
            "",
            None,
            None,
            None,
            None,
        )
        for n in range(count)
    ]


def rows(uid: str, count: int) -> list[dict]:
    return [{"uid": uid, "view_index": index} for index in range(count)]


def test_every_category_comes_before_any_comes_twice():
    objects = things(30, categories=10)
    first = [item.category for item in order_objects(objects, seed=0)[:10]]
    assert len(set(first)) == 10
    assert order_objects(reversed(objects), seed=0) == order_objects(objects, seed=0)
    assert order_objects(objects, seed=1) != order_objects(objects, seed=0)


def test_as_many_views_as_were_asked_for_are_listed():
    assert sum(choose(things(50), views=101, seed=0).listed.values()) == 101
    assert sum(choose(things(5), views=101, seed=0).listed.values()) == 50, "there are no more"
    few = choose(things(100), views=80, seed=0).listed
    assert set(few.values()) == {VIEWS_EACH}


def test_more_than_there_is_room_for_are_listed_without_pictures():
    choice = choose(things(1000), views=9000, seed=0)
    assert sum(choice.listed.values()) == 9000
    assert sum(choice.pictured.values()) == PICTURES
    assert all(count <= choice.listed[uid] for uid, count in choice.pictured.items())


@pytest.mark.parametrize(("count", "views"), [(1000, 100), (1000, 7), (3, 5000)])
def test_turntables_stay_within_their_room(count, views):
    turned = choose(things(count, views=views), views=10, seed=0).turned
    assert TURNED_VIEWS - views < sum(turned.values()) <= TURNED_VIEWS or len(turned) == count
    assert set(turned.values()) == {min(views, VIEWS_OF_A_TURNTABLE)}


def test_what_cannot_turn_has_no_turntable():
    assert choose(things(4, views=1), views=10, seed=0).turned == {}


def test_the_first_few_of_many_views_are_the_few():
    choice = choose(things(1), views=10, seed=0)
    many, few = choice.draw(rows("a", 50), 20), choice.draw(rows("a", 50), 5)
    assert [row for row in many if row in few] == few
    assert many == sorted(many, key=lambda row: row["view_index"])
    assert choose(things(1), views=10, seed=1).draw(rows("a", 50), 5) != few
    assert choice.draw(rows("a", 3), 7) == rows("a", 3)


def test_views_are_mixed_so_that_one_object_does_not_fill_a_page():
    choice = choose(things(1), views=10, seed=0)
    keys = [(uid, index) for uid in "abcd" for index in range(50)]
    mixed = choice.mixed(keys)
    assert sorted(mixed) == keys
    assert max(Counter(uid for uid, _ in mixed[:24]).values()) < 16
