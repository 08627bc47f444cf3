"""Workers go where they have room, every stage gets one first, and what fills takes the rest."""

from hypothesis import given
from hypothesis import strategies as st

from mvcap.commits import CAPTION, RENDER
from pipelines.placement import Demand, Placement, place

RENDERERS = Demand(RENDER, {"CPU": 1}, fills=True)
ON_GPUS = Demand(CAPTION, {"GPU": 1}, fills=True)
CPU_NODE = {"CPU": 4.0, "memory": 16e9}
GPU_NODE = {"CPU": 2.0, "GPU": 2.0, "memory": 64e9}


def test_cpus_render_and_gpus_caption():
    placed = place([RENDERERS, ON_GPUS], {"a": CPU_NODE, "b": CPU_NODE, "g": GPU_NODE})
    assert placed[RENDER].on == {"a": 4, "b": 4, "g": 2}
    assert placed[CAPTION].on == {"g": 2}


def test_custom_resources_keep_renderers_off_a_node():
    renderers = Demand(RENDER, {"CPU": 1, "renders": 1}, fills=True)
    placed = place([renderers, ON_GPUS], {"a": {**CPU_NODE, "renders": 3}, "g": GPU_NODE})
    assert placed[RENDER].on == {"a": 3}


def test_memory_bounds_the_workers_of_a_node():
    renderers = Demand(RENDER, {"CPU": 1, "memory": 6e9}, fills=True)
    assert place([renderers], {"a": CPU_NODE})[RENDER].on == {"a": 2}


def test_children_share_gpus():
    renderers = Demand(RENDER, {"CPU": 1, "GPU": 1 / 3}, fills=True)
    assert place([renderers], {"a": {"CPU": 64.0, "GPU": 2.0}})[RENDER].on == {"a": 6}


def test_what_fills_leaves_room_for_the_first_worker_of_every_stage():
    captioner = Demand(CAPTION, {"CPU": 3})
    placed = place([RENDERERS, captioner], {"small": {"CPU": 2.0}, "large": {"CPU": 4.0}})
    assert placed[CAPTION].on == {"large": 1}
    assert placed[RENDER].on == {"small": 2, "large": 1}


def test_a_captioner_without_needs_goes_where_most_cpus_are_and_not_to_a_head_without_any():
    captioner = Demand(CAPTION, {})
    assert place([captioner], {"head": {}, "a": CPU_NODE})[CAPTION].on == {"a": 1}


def test_gpus_are_left_to_those_who_need_them():
    captioner = Demand(CAPTION, {"CPU": 1})
    assert place([captioner], {"g": {"CPU": 64.0, "GPU": 8.0}, "a": CPU_NODE})[CAPTION].on == {"a": 1}


def test_a_number_of_workers_is_spread_and_what_finds_no_room_waits():
    renderers = Demand(RENDER, {"CPU": 1}, workers=5)
    assert place([renderers], {"a": CPU_NODE, "b": CPU_NODE})[RENDER].on in (
        {"a": 3, "b": 2},
        {"a": 2, "b": 3},
    )
    assert place([renderers], {"a": {"CPU": 3.0}})[RENDER] == Placement({"a": 3}, waiting=2)


def test_one_worker_waits_where_no_node_has_what_it_needs():
    assert place([RENDERERS, ON_GPUS], {"a": CPU_NODE})[CAPTION] == Placement({}, waiting=1)
    assert place([RENDERERS], {})[RENDER] == Placement({}, waiting=1)


@given(
    nodes=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), max_size=6),
    renderers=st.one_of(st.none(), st.integers(1, 20)),
    captioner_cpus=st.integers(1, 4),
)
def test_no_node_is_asked_for_more_than_it_has(nodes, renderers, captioner_cpus):
    has = {str(index): {"CPU": float(cpus), "GPU": float(gpus)} for index, (cpus, gpus) in enumerate(nodes)}
    demands = [
        Demand(RENDER, {"CPU": 1}, workers=renderers, fills=True),
        Demand(CAPTION, {"CPU": captioner_cpus, "GPU": 1}, fills=True),
    ]
    placed = place(demands, has)
    for node, amounts in has.items():
        for name, amount in amounts.items():
            taken = sum(
                placed[demand.stage].on.get(node, 0) * demand.needs.get(name, 0) for demand in demands
            )
            assert taken <= amount
    assert all(placement.total >= 1 for placement in placed.values())
    if renderers:
        assert placed[RENDER].total == renderers
