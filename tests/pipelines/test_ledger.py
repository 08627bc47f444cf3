"""The ledger hands out each shard once a stage, in the stages' order, within its bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvcap.commits import CAPTION, RENDER
from mvcap.errors import InfrastructureError
from pipelines.ledger import MAX_LOSSES, Ledger


def test_a_shard_is_captioned_only_after_it_is_rendered():
    ledger = Ledger({RENDER: [0], CAPTION: [0]}, in_flight=8)
    assert ledger.take(CAPTION) is None
    assert ledger.take(RENDER) == 0
    assert ledger.take(CAPTION) is None
    ledger.finish(RENDER, 0)
    assert ledger.take(CAPTION) == 0


def test_a_shard_rendered_earlier_goes_straight_to_captions():
    ledger = Ledger({RENDER: [1], CAPTION: [0, 1]}, in_flight=8)
    assert ledger.take(CAPTION) == 0


def test_different_shards_overlap():
    ledger = Ledger({RENDER: [0, 1], CAPTION: [0, 1]}, in_flight=8)
    ledger.finish(RENDER, ledger.take(RENDER))
    assert (ledger.take(RENDER), ledger.take(CAPTION)) == (1, 0)


def test_back_pressure_stops_new_shards_but_not_started_ones():
    ledger = Ledger({RENDER: [0, 1], CAPTION: [0, 1]}, in_flight=1)
    ledger.finish(RENDER, ledger.take(RENDER))
    assert ledger.take(RENDER) is None
    ledger.finish(CAPTION, ledger.take(CAPTION))
    assert ledger.take(RENDER) == 1


def test_a_lost_shard_is_handed_out_again_until_it_was_lost_too_often():
    ledger = Ledger({RENDER: [0, 1]}, in_flight=2)
    for _ in range(MAX_LOSSES):
        assert ledger.take(RENDER) == 0
        ledger.lose(RENDER, 0, "the node is gone")
    assert ledger.take(RENDER) == 0
    with pytest.raises(InfrastructureError, match=r"render of shard 0.*the node is gone"):
        ledger.lose(RENDER, 0, "the node is gone")


@given(
    rendered=st.sets(st.integers(0, 9)),
    captioned=st.sets(st.integers(0, 9)),
    in_flight=st.integers(1, 4),
    data=st.data(),
)
def test_every_shard_goes_through_each_of_its_stages_once(rendered, captioned, in_flight, data):
    ledger = Ledger({RENDER: rendered, CAPTION: captioned}, in_flight=in_flight)
    running, done = [], []
    while not ledger.done:
        for stage in (RENDER, CAPTION):
            if (shard := ledger.take(stage)) is not None:
                running.append((stage, shard))
        assert running, "the ledger is stuck"
        finished = running.pop(data.draw(st.integers(0, len(running) - 1)))
        ledger.finish(*finished)
        done.append(finished)
    assert sorted(done) == sorted([(RENDER, s) for s in rendered] + [(CAPTION, s) for s in captioned])
