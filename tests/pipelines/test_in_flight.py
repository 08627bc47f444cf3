"""What is begun is bounded by the bytes of its views, which are learnt from the shards that are done."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.in_flight import InFlight


def test_one_shard_may_always_be_begun_however_large():
    flow = InFlight(limit_bytes=1, limit_shards=1, views_of=lambda shard: 100, view_bytes=1000)
    assert flow.admits(0)
    flow.begin(0)
    assert not flow.admits(1)
    flow.measure(0, 10**9)
    assert not flow.admits(1)
    flow.end(0)
    assert flow.admits(1)


def test_a_measured_shard_tells_what_to_expect_of_the_others():
    flow = InFlight(limit_bytes=1000, views_of=lambda shard: 10 * (shard + 1), view_bytes=40)
    flow.begin(0)
    flow.begin(1)
    assert flow.bytes == 400 + 800
    assert not flow.admits(0)
    flow.measure(0, 50)  # 5 bytes for each of its 10 views
    assert flow.bytes == 50 + 5 * 20
    assert flow.admits(16)  # 850 more
    assert not flow.admits(17)


def test_without_limits_everything_is_admitted():
    flow = InFlight()
    for shard in range(1000):
        assert flow.admits(shard)
        flow.begin(shard)


@given(
    limit=st.integers(100, 1000),
    views=st.lists(st.integers(1, 9), min_size=5, max_size=30),
    view_bytes=st.integers(1, 20),
    data=st.data(),
)
def test_the_disk_is_bounded_however_shards_begin_and_end(limit, views, view_bytes, data):
    """The first guess being right, never more than the limit is begun, and nothing remains at the end."""
    flow = InFlight(limit_bytes=limit, views_of=views.__getitem__, view_bytes=view_bytes)
    waiting, begun, rendered = list(range(len(views))), set(), set()
    while waiting or begun:
        while waiting and flow.admits(waiting[0]):
            begun.add(waiting[0])
            flow.begin(waiting.pop(0))
        taken = sum(views[shard] * view_bytes for shard in begun)
        assert flow.bytes == taken
        assert taken <= limit or len(begun) == 1
        shard = data.draw(st.sampled_from(sorted(begun)))
        if shard in rendered:
            flow.end(shard)
            begun.remove(shard)
        else:
            flow.measure(shard, views[shard] * view_bytes)
            rendered.add(shard)
    assert (len(flow), flow.bytes) == (0, 0)
