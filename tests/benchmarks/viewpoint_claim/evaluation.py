"""The pictures by which models are judged, and the judgement."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mvcap.plan import stable_hash
from render.encoding import composite
from training.student import Student
from viewpoint_claim.corruptions import CORRUPTIONS
from viewpoint_claim.data import Parted
from viewpoint_claim.metrics import is_right, relative_spread
from viewpoint_claim.objects import Part
from viewpoint_claim.tiny_clip import class_features, image_features

CLEAN, DAMAGED, ODD = 0, 1, 2
KINDS: Final = ("clean", "2D-OOD", "viewpoint-OOD")
WHITE: Final = np.full(3, 255, np.uint8)
SHOWN: Final = {"frontal": 6, "odd": 9}
"""Views of each object; more would say little, as those of one object succeed and fail together."""
DAMAGED_VIEWS: Final = 2
"""Frontal views of each object that are damaged, each in every way."""


@dataclass(frozen=True, slots=True)
class Exam:
    """N pictures of a part's objects."""

    pixels: NDArray[np.uint8]
    """(N, H, W, 3)"""
    kinds: NDArray[np.int64]
    """(N,) index in `KINDS`."""
    objects: NDArray[np.int64]
    """(N,)"""
    labels: NDArray[np.int64]
    """(N,) index in `classes`."""
    unseen: NDArray[np.bool_]
    """(N,) whether tuning never sees the class."""
    classes: list[str]


@dataclass(frozen=True, slots=True)
class Marks:
    """What a model got right."""

    right: NDArray[np.bool_]
    """(N,) of the exam's pictures."""
    spread: float
    """See `metrics.relative_spread`, over frontal and odd views."""

    def accuracy(self, exam: Exam, kind: int, *, unseen: bool | None = None) -> float:
        """Return the share of right answers in percent."""
        chosen = exam.kinds == kind
        return float(100 * self.right[chosen if unseen is None else chosen & (exam.unseen == unseen)].mean())


def make_exam(parted: Parted, part: Part) -> Exam:
    """Put a part's views on white, and damage some of the frontal ones."""
    pictures = parted.pictures
    frontal = _first(SHOWN["frontal"], parted.rows(part, frontal=True), pictures.objects)
    odd = _first(SHOWN["odd"], parted.rows(part, frontal=False), pictures.objects)
    few = _first(DAMAGED_VIEWS, frontal, pictures.objects)
    rows = np.concatenate([frontal, np.repeat(few, len(CORRUPTIONS)), odd])
    kinds = np.repeat([CLEAN, DAMAGED, ODD], [len(frontal), len(few) * len(CORRUPTIONS), len(odd)])
    pixels = on_white(pictures.rgba[rows])
    damage = list(CORRUPTIONS.items()) * len(few)
    for place, (name, corrupt) in zip(np.flatnonzero(kinds == DAMAGED), damage, strict=True):
        uid = pictures.uids[pictures.objects[rows[place]]]
        pixels[place] = corrupt(pixels[place], np.random.default_rng([stable_hash(uid + name), int(place)]))
    classes = sorted(set(pictures.nouns))
    nouns = [pictures.nouns[index] for index in pictures.objects[rows]]
    return Exam(
        pixels=pixels,
        kinds=kinds,
        objects=pictures.objects[rows],
        labels=np.array([classes.index(noun) for noun in nouns]),
        unseen=np.array([noun in parted.unseen for noun in nouns]),
        classes=classes,
    )


def on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put (N, H, W, 4) pictures on white."""
    return composite(rgba, np.broadcast_to(WHITE, (len(rgba), 1, 1, 3)))


def take(exam: Exam, student: Student) -> Marks:
    """Judge a model by single pictures, as `mvcap eval` does."""
    features = image_features(student, exam.pixels).numpy()
    undamaged = exam.kinds != DAMAGED
    return Marks(
        is_right(features, class_features(student, exam.classes).numpy(), exam.labels),
        relative_spread(features[undamaged], exam.objects[undamaged]),
    )


def _first(count: int, rows: NDArray[np.int64], objects: NDArray[np.int64]) -> NDArray[np.int64]:
    """Take the first rows of each object; `objects` of all pictures ascends."""
    _, first, inverse = np.unique(objects[rows], return_index=True, return_inverse=True)
    return rows[np.arange(len(rows)) - first[inverse] < count]
