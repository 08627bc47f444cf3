"""uids for hostile ids, and shards that are a pure function of the plan."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvcap.errors import CorruptDatasetError
from mvcap.files import json_bytes
from mvcap.plan import HeldOut, Plan, Shard, choose_split, extend_plan, make_uid, slice_shards

SPLITS = {"train": 0.7, "val": 0.1, "test": 0.2}
HOSTILE = [
    "../../x",
    "/etc/passwd",
    "a\0b",
    "a/b",
    "a\\b",
    "x" * 300,
    "стул",
    "椅子/🪑",
    "CON",
    "nul.glb",
    ".",
    "..",
    "",
    " ",
    "-rf",
    "~root",
    "$(id)",
    "a\nb",
    "\udcff\ud800",
    "%2e%2e%2f",
]


def plan_of(count: int, *, seed: int = 0, per_shard: int = 4, splits: dict[str, float] | None = None) -> Plan:
    return extend_plan(Plan(seed, per_shard, splits or SPLITS), (f"uid-{index}" for index in range(count)))


def split_of_each(plan: Plan) -> dict[str, str]:
    return {uid: shard.split for shard in plan.shards for uid in shard.uids}


# uids


def is_safe_name(uid: str) -> bool:
    return uid.isascii() and uid.replace("-", "").isalnum() and uid == uid.lower() and len(uid) < 80


@pytest.mark.parametrize("source_id", HOSTILE)
def test_a_uid_is_safe_in_any_path_whatever_the_id_holds(source_id: str, tmp_path: Path):
    uid = make_uid("folder", source_id)
    assert is_safe_name(uid)
    assert uid.startswith("folder-")
    (tmp_path / uid).touch()
    assert (tmp_path / uid).resolve().parent == tmp_path.resolve()


@given(st.text(st.characters(), max_size=400))  # surrogates included
@settings(deadline=None, max_examples=200)
def test_no_text_makes_an_unsafe_uid(source_id: str):
    assert is_safe_name(make_uid("folder", source_id))


def test_ids_that_share_a_slug_keep_apart():
    alike = ["Chair 1", "chair-1", "chair_1", "CHAIR/1", "chair 1 "]
    assert len({make_uid("folder", source_id) for source_id in alike}) == len(alike)
    assert len({make_uid("folder", source_id) for source_id in HOSTILE}) == len(HOSTILE)


def test_a_uid_never_changes_between_versions():
    assert make_uid("sh3f", "Kator Legaz#screen-door") == "sh3f-kator-legaz-screen-door-87ede187"  # sha256sum


# plans


def test_every_object_stands_in_exactly_one_shard_of_at_most_the_given_size():
    plan = plan_of(101)
    counted = Counter(uid for shard in plan.shards for uid in shard.uids)
    assert counted == Counter(f"uid-{index}" for index in range(101))
    assert {len(shard.uids) for shard in plan.shards} <= {1, 2, 3, 4}
    assert [shard.index for shard in plan.shards] == list(range(len(plan.shards)))
    assert {shard.planned_total for shard in plan.shards} == {len(plan.shards)}


def test_the_plan_depends_on_the_set_of_objects_and_not_on_order_or_repetition():
    uids = [f"uid-{index}" for index in range(30)]
    empty = Plan(0, 4, SPLITS)
    assert extend_plan(empty, reversed(uids)) == extend_plan(empty, uids + uids) == extend_plan(empty, uids)


def test_the_plan_is_the_same_in_another_process_with_another_hash_seed():
    code = (
        "from mvcap.plan import *\n"
        "splits = {'train': 0.7, 'val': 0.1, 'test': 0.2}\n"
        "plan = extend_plan(Plan(0, 4, splits), (f'uid-{i}' for i in range(30)))\n"
        "print([(s.file_name, s.uids) for s in plan.shards])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == repr([(shard.file_name, shard.uids) for shard in plan_of(30).shards])


def test_an_objects_split_depends_on_seed_and_uid_alone():
    small, large = split_of_each(plan_of(20, per_shard=3)), split_of_each(plan_of(500, per_shard=32))
    assert small == {uid: large[uid] for uid in small}
    assert split_of_each(plan_of(500, seed=1)) != large


def test_the_order_in_which_a_recipe_names_its_splits_does_not_matter():
    reordered = dict(sorted(SPLITS.items()))
    assert list(reordered) != list(SPLITS)
    assert plan_of(200, splits=reordered).shards == plan_of(200).shards


def test_splits_get_their_shares():
    counted = Counter(split_of_each(plan_of(5000)).values())
    for split, share in SPLITS.items():
        assert counted[split] / 5000 == pytest.approx(share, abs=0.03)  # 4 sigma are 0.026


def test_a_split_of_no_share_gets_nothing_even_at_the_rounding_edge(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mvcap.plan.stable_hash", lambda text: 2**64 - 1)
    assert choose_split("uid", {"train": 0.9999995, "none": 0.0}, seed=0) == "train"


def test_more_objects_append_shards_and_old_shards_stay():
    first = plan_of(21)
    second = extend_plan(first, [f"uid-{index}" for index in range(40)])
    assert second.shards[: len(first.shards)] == first.shards
    assert sum(len(shard.uids) for shard in second.shards) == 40
    assert {shard.planned_total for shard in second.shards[len(first.shards) :]} == {len(second.shards)}
    assert len({shard.file_name for shard in second.shards}) == len(second.shards)


def test_objects_that_come_later_get_the_split_they_would_have_had_at_once():
    stored = Plan.from_json(json.loads(json_bytes(plan_of(20).to_json())))
    later = extend_plan(stored, [f"uid-{index}" for index in range(200)])
    assert split_of_each(later) == split_of_each(plan_of(200))


def test_nothing_new_leaves_the_plan_as_it_is():
    plan = plan_of(21)
    assert extend_plan(plan, [f"uid-{index}" for index in range(10)]) == plan
    assert extend_plan(Plan(0, 4, SPLITS), []).shards == ()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
def test_slices_part_the_shards(count: int):
    shards = plan_of(101).shards
    slices = [slice_shards(shards, (position, count)) for position in range(count)]
    assert sorted(shard.index for part in slices for shard in part) == [shard.index for shard in shards]
    assert max(map(len, slices)) - min(map(len, slices)) <= 1


def test_file_names_sort_like_shard_numbers_and_match_what_datasets_expects():
    assert Shard(12, "train", 700, ()).file_name == "train-00012-of-00700.parquet"


# twins and held-out objects


def test_twins_land_in_one_split_which_is_that_of_the_first_of_them():
    uids = [f"uid-{index}" for index in range(200)]
    twins = {uid: f"asset-{index % 50}" for index, uid in enumerate(uids)}
    alone = split_of_each(extend_plan(Plan(0, 4, SPLITS), uids))
    together = split_of_each(extend_plan(Plan(0, 4, SPLITS), uids, twins=twins))
    groups = [[f"uid-{start + step}" for step in range(0, 200, 50)] for start in range(50)]
    assert all({together[uid] for uid in group} == {alone[min(group)]} for group in groups)
    assert any(len({alone[uid] for uid in group}) > 1 for group in groups)


def test_a_twin_that_comes_later_follows_the_planned_one():
    plan = plan_of(40)
    late = {f"late-{index}": f"asset-{index}" for index in range(40)}
    twins = late | {f"uid-{index}": f"asset-{index}" for index in range(40)}
    extended = split_of_each(extend_plan(plan, late, twins=twins))
    planned = split_of_each(plan)
    assert [extended[f"late-{index}"] for index in range(40)] == [
        planned[f"uid-{index}"] for index in range(40)
    ]


def test_objects_without_twins_keep_their_split_whatever_others_share():
    twins = {"uid-1": "a", "uid-2": "a"}
    plan = extend_plan(Plan(0, 4, SPLITS), (f"uid-{index}" for index in range(60)), twins=twins)
    alone, together = split_of_each(plan_of(60)), split_of_each(plan)
    assert {uid for uid in alone if alone[uid] != together[uid]} <= {"uid-1", "uid-2"}


@pytest.mark.parametrize("split", ["test", "benchmark", None])
def test_held_out_objects_and_their_twins_are_in_no_other_split(split: str | None):
    uids = [f"uid-{index}" for index in range(60)]
    held_out = HeldOut(frozenset(uids[:10]), split)
    twins = {"uid-3": "a", "uid-40": "a", "uid-50": "b", "uid-51": "b"}
    splits = split_of_each(extend_plan(Plan(0, 4, SPLITS), uids, twins=twins, held_out=held_out))
    assert {splits.get(uid) for uid in [*uids[:10], "uid-40"]} == {split}
    alone = split_of_each(plan_of(60))
    assert {uid for uid in uids[10:] if splits.get(uid) != alone[uid]} <= {"uid-40", "uid-50", "uid-51"}


def test_what_was_left_out_stays_out_when_more_comes():
    held_out = HeldOut(frozenset({"uid-3"}))
    plan = extend_plan(Plan(0, 4, SPLITS), ["uid-3", "uid-4"], held_out=held_out)
    more = extend_plan(plan, [f"uid-{index}" for index in range(9)], held_out=held_out)
    assert split_of_each(more).keys() == {f"uid-{index}" for index in range(9)} - {"uid-3"}


# JSON


def test_a_plan_survives_its_file():
    plan = plan_of(21)
    assert Plan.from_json(json.loads(json_bytes(plan.to_json()))) == plan


@pytest.mark.parametrize("content", [[], None, "plan", 3, {}, {"version": 2}, {"version": "1"}])
def test_what_is_no_plan_of_a_known_version_is_refused(content: Any):
    with pytest.raises(CorruptDatasetError, match="this mvcap reads 1"):
        Plan.from_json(content)


@pytest.mark.parametrize(
    "damage", [{"shards": None}, {"shards": 3}, {"shards": [{"index": 0}]}, {"shards": [None]}, {"seed": ...}]
)
def test_a_damaged_plan_is_refused(damage: dict[str, Any]):
    content = plan_of(5).to_json() | damage
    content = {key: value for key, value in content.items() if value is not ...}
    with pytest.raises(CorruptDatasetError, match="not a plan"):
        Plan.from_json(content)
