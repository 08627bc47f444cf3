"""The ledger hands out each shard once a stage, in the stages' order, within its bound."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcap.commits import CAPTION, RENDER
from mvcap.errors import InfrastructureError
from pipelines.in_flight import InFlight
from pipelines.ledger import MAX_LOSSES, Assignment, Ledger
from pipelines.suspects import MAX_LOSSES_ALONE


def make_ledger(todo, *, shards=8, objects=("a", "b", "c")) -> Ledger:
    return Ledger(todo, in_flight=InFlight(limit_shards=shards), objects_of=lambda shard: objects)


render, caption = partial(Assignment, RENDER), partial(Assignment, CAPTION)


def test_a_shard_is_captioned_only_after_it_is_rendered():
    ledger = make_ledger({RENDER: [0], CAPTION: [0]})
    assert ledger.take(CAPTION) is None
    assert ledger.take(RENDER) == render(0)
    assert ledger.take(CAPTION) is None
    ledger.finish(render(0))
    assert ledger.take(CAPTION) == caption(0)


def test_a_shard_rendered_earlier_goes_straight_to_captions():
    ledger = make_ledger({RENDER: [1], CAPTION: [0, 1]})
    assert ledger.take(CAPTION) == caption(0)


def test_different_shards_overlap():
    ledger = make_ledger({RENDER: [0, 1], CAPTION: [0, 1]})
    ledger.finish(ledger.take(RENDER))
    assert (ledger.take(RENDER), ledger.take(CAPTION)) == (render(1), caption(0))


def test_back_pressure_stops_new_shards_but_not_begun_ones():
    ledger = make_ledger({RENDER: [0, 1], CAPTION: [0, 1]}, shards=1)
    ledger.finish(ledger.take(RENDER))
    assert ledger.take(RENDER) is None
    ledger.finish(ledger.take(CAPTION))
    assert ledger.take(RENDER) == render(1)


def test_the_bytes_of_rendered_shards_decide_how_many_more_are_begun():
    ledger = Ledger(
        {RENDER: range(9), CAPTION: range(9)},
        in_flight=InFlight(limit_bytes=100, views_of=lambda shard: 10, view_bytes=5),
        objects_of=lambda shard: ("a",),
    )
    assert [ledger.take(RENDER) for _ in range(3)] == [
        render(0),
        render(1),
        None,
    ]  # 50 bytes are expected of each
    ledger.finish(render(0), size=20)  # it has 20, and so will the others
    assert [ledger.take(RENDER) for _ in range(4)] == [render(2), render(3), render(4), None]


def test_a_lost_shard_is_handed_out_again_without_blame():
    ledger = make_ledger({RENDER: [0, 1]})
    for _ in range(MAX_LOSSES - 1):
        assert ledger.take(RENDER) == render(0)
        ledger.lose(render(0), "the node is gone")
    assert ledger.take(RENDER) == render(0)


def lose_until_suspicious(ledger: Ledger, shard: int) -> None:
    for _ in range(MAX_LOSSES):
        assert ledger.take(RENDER) == render(shard)
        ledger.lose(render(shard), "the node is gone")


def test_the_object_that_takes_down_its_workers_is_found_and_the_rest_of_the_shard_completes():
    ledger = make_ledger({RENDER: [0], CAPTION: [0]})
    lose_until_suspicious(ledger, 0)
    ledger.finish(ledger.take(RENDER))
    for _ in range(MAX_LOSSES_ALONE):
        assert ledger.take(RENDER) == render(0, alone="b")
        assert ledger.take(RENDER) is None, "no two objects are tried at once"
        ledger.lose(render(0, alone="b"), "killed by signal 9")
    assert ledger.take(RENDER) == render(0, alone="c")
    ledger.finish(render(0, alone="c"))
    last = ledger.take(RENDER)
    assert last.alone is None
    assert [(culprit.uid, culprit.losses) for culprit in last.culprits] == [
        ("b", MAX_LOSSES + MAX_LOSSES_ALONE)
    ]
    assert "signal 9" in last.culprits[0].cause
    ledger.finish(last)
    assert ledger.take(CAPTION) == caption(0), "who was left out of one stage is no culprit of the next"


def test_only_one_shard_at_a_time_has_an_object_on_trial_and_others_go_on():
    ledger = make_ledger({RENDER: [0, 1, 2]})
    lose_until_suspicious(ledger, 0)
    first = ledger.take(RENDER)
    assert first.alone == "a"
    lose_until_suspicious(ledger, 1)
    assert ledger.take(RENDER) == render(2)
    ledger.finish(first)
    for _ in range(2):
        ledger.finish(ledger.take(RENDER))
    assert {ledger.take(RENDER), ledger.take(RENDER)} == {render(0), render(1, alone="a")}


def test_a_run_ends_where_no_object_alone_explains_why_workers_die():
    ledger = make_ledger({RENDER: [0, 1]})
    lose_until_suspicious(ledger, 0)
    for _ in "abc":
        ledger.finish(ledger.take(RENDER))
    for _ in range(MAX_LOSSES - 1):
        ledger.lose(ledger.take(RENDER), "out of memory")
    with pytest.raises(InfrastructureError, match=r"over the render of shard 0.*last: out of memory"):
        ledger.lose(ledger.take(RENDER), "out of memory")


@given(
    rendered=st.sets(st.integers(0, 9)),
    captioned=st.sets(st.integers(0, 9)),
    in_flight=st.integers(1, 4),
    data=st.data(),
)
def test_every_shard_goes_through_each_of_its_stages_once_whatever_is_lost(
    rendered, captioned, in_flight, data
):
    ledger = make_ledger({RENDER: rendered, CAPTION: captioned}, shards=in_flight)
    running, done, losses = [], [], 0
    while not ledger.done:
        for stage in (RENDER, CAPTION):
            if (assignment := ledger.take(stage)) is not None:
                running.append(assignment)
        assert running, "the ledger is stuck"
        assignment = running.pop(data.draw(st.integers(0, len(running) - 1)))
        if losses < 2 * MAX_LOSSES - 1 and data.draw(st.booleans()):
            losses += 1
            ledger.lose(assignment, "chance")
            continue
        ledger.finish(assignment)
        if not assignment.alone:
            done.append((assignment.stage, assignment.shard))
    assert sorted(done) == sorted([(RENDER, s) for s in rendered] + [(CAPTION, s) for s in captioned])
