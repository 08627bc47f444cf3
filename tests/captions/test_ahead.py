"""Order, bounds and errors of what is done ahead; the threads are real, and events set their pace."""

import threading
from collections.abc import Iterator

import pytest

from captions.ahead import map_ahead


def test_results_keep_the_order_whichever_is_ready_first():
    second_is_done = threading.Event()

    def square(number: int) -> int:
        if number == 0:
            assert second_is_done.wait(10)
        if number == 1:
            second_is_done.set()
        return number**2

    assert list(map_ahead(square, range(20), threads=2, limit=5)) == [number**2 for number in range(20)]


@pytest.mark.parametrize("limit", [1, 4])
def test_no_more_items_are_taken_than_the_limit_beyond_what_was_yielded(limit: int):
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    for yielded, number in enumerate(map_ahead(lambda item: item, items(), threads=2, limit=limit)):
        assert number == yielded
        assert taken <= yielded + limit


def test_work_is_done_before_it_is_asked_for():
    reached = threading.Event()

    def note_the_third(number: int) -> int:
        if number == 3:
            reached.set()
        return number

    results = map_ahead(note_the_third, range(10), threads=1, limit=4)
    assert next(results) == 0
    assert reached.wait(10), "item 3 must be worked on while only item 0 was asked for"


def test_an_error_comes_where_its_result_would_have_come():
    def refuse_two(number: int) -> int:
        if number == 2:
            raise LookupError("two")
        return number

    results = map_ahead(refuse_two, range(5), threads=2, limit=3)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(LookupError, match="two"):
        next(results)


def test_closing_drops_what_has_not_begun_and_ends_the_threads():
    begun: list[int] = []
    release = threading.Event()

    def wait(number: int) -> int:
        begun.append(number)
        if number:
            assert release.wait(10)
        return number

    before = threading.active_count()
    results = map_ahead(wait, range(100), threads=1, limit=10)
    next(results)
    release.set()
    results.close()
    assert len(begun) < 10
    assert threading.active_count() == before
