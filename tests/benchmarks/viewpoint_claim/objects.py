"""Which objects are learnt from, which are chosen by, which are reported, and from where each is seen.

Four parts, by object and within each category: `pretraining` (frontal views, of which the base is made),
`tuning` (the multi-view data), `validation` (every choice) and `test` (the table). A quarter of the objects
is of categories that are never tuned with: what tuning does to these is what a user of CLIP may lose.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from mvcap.lookalikes import PORTRAIT_SHAPE, first_lookalikes
from mvcap.plan import stable_hash
from render.cameras import Viewpoint

Part = Literal["pretraining", "tuning", "validation", "test"]

SEEN_SHARES: Final[dict[Part, float]] = {"pretraining": 0.35, "tuning": 0.3, "validation": 0.13, "test": 0.22}
UNSEEN_SHARES: Final[dict[Part, float]] = {"pretraining": 0.5, "validation": 0.19, "test": 0.31}
UNSEEN_OBJECTS: Final = 0.25
"""Share of the objects in categories that tuning never sees."""

FRONT_DEG: Final = 30.0
"""Frontal views are this near to the front in azimuth, and no higher than `FRONT_TOP_DEG`."""
FRONT_TOP_DEG: Final = 25.0
FRONT_BOTTOM_DEG: Final = 2.0
"""A rug seen from its own plane is a line."""
GAP_DEG: Final = 15.0
"""Odd views are this much farther away from the front, or higher, than any frontal one."""


@dataclass(frozen=True, slots=True)
class Split:
    """Who is in which part."""

    part: Mapping[str, Part]
    """By uid."""
    unseen: frozenset[str]
    """Categories without an object to tune with."""


def split_objects(categories: Mapping[str, str], *, seed: int) -> Split:
    """Split objects, given as uid -> category, by category.

    Every category has an object to pre-train with and one to test with; those of three objects or fewer may
    lack one to validate with.
    """
    members: dict[str, list[str]] = {}
    for uid, category in sorted(categories.items()):
        members.setdefault(category, []).append(uid)
    unseen = unseen_categories({name: len(uids) for name, uids in members.items()}, seed=seed)
    part: dict[str, Part] = {}
    for category, uids in members.items():
        rng = np.random.default_rng([seed, stable_hash(category)])
        shuffled = [uids[index] for index in rng.permutation(len(uids))]
        part |= deal(shuffled, UNSEEN_SHARES if category in unseen else SEEN_SHARES)
    return Split(part, unseen)


def unseen_categories(counts: Mapping[str, int], *, seed: int) -> frozenset[str]:
    """Draw categories, given with their numbers of objects, until they hold `UNSEEN_OBJECTS` of all."""
    names = sorted(counts)
    wanted, held, drawn = UNSEEN_OBJECTS * sum(counts.values()), 0, set()
    for index in np.random.default_rng([seed, stable_hash("unseen")]).permutation(len(names)):
        if held + counts[names[index]] <= wanted:
            drawn.add(names[index])
            held += counts[names[index]]
    return frozenset(drawn)


def deal(uids: Sequence[str], shares: Mapping[Part, float]) -> dict[str, Part]:
    """Give each part its share of `uids`: in turn to whom most is owed, so that few get far from it."""
    owed = dict.fromkeys(shares, 0.0)
    dealt: dict[str, Part] = {}
    for uid in uids:
        for part, share in shares.items():
            owed[part] += share
        most = max(owed, key=lambda part: owed[part])
        owed[most] -= 1
        dealt[uid] = most
    return dealt


def lookalikes(portraits: Mapping[str, bytes]) -> dict[str, str]:
    """Find the objects to leave out, each with the one it looks like, which stays."""
    order = sorted(portraits)
    stacked = np.frombuffer(b"".join(portraits[uid] for uid in order), np.uint8)
    first = first_lookalikes(stacked.reshape(len(order), *PORTRAIT_SHAPE))
    return {order[index]: order[other] for index, other in enumerate(first) if other >= 0}


def draw_views(uid: str, front_deg: float, *, frontal: int, odd: int, seed: int) -> tuple[Viewpoint, ...]:
    """Draw an object's viewpoints, the frontal ones first."""
    streams = np.random.default_rng([seed, stable_hash(uid)]).spawn(2)
    views = [_frontal_view(front_deg, streams[0]) for _ in range(frontal)]
    return (*views, *(_odd_view(front_deg, streams[1]) for _ in range(odd)))


def is_frontal(turn_deg: float, elevation_deg: float) -> bool:
    """Tell the frontal views by their azimuth from the front, in [-180, 180], and their elevation."""
    return abs(turn_deg) <= FRONT_DEG and elevation_deg <= FRONT_TOP_DEG


def _frontal_view(front_deg: float, rng: np.random.Generator) -> Viewpoint:
    turn = rng.uniform(-FRONT_DEG, FRONT_DEG)
    return Viewpoint((front_deg + turn) % 360, rng.uniform(FRONT_BOTTOM_DEG, FRONT_TOP_DEG))


def _odd_view(front_deg: float, rng: np.random.Generator) -> Viewpoint:
    """Draw from the upper hemisphere, uniform by area, but for the front and `GAP_DEG` around it."""
    while True:
        turn, elevation = rng.uniform(-180, 180), np.degrees(np.arcsin(rng.random()))
        if abs(turn) > FRONT_DEG + GAP_DEG or elevation > FRONT_TOP_DEG + GAP_DEG:
            return Viewpoint((front_deg + turn) % 360, float(elevation))
