"""Evaluate a model, and the pretrained one beside it, on pictures of any layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mvcap.categories import prompt_names
from mvcap.errors import EmptyInputError, UsageError
from mvcap.storage import INTERNAL
from training.assembling import choose_device
from training.batches import Pixels
from training.distributed import World
from training.evaluation.angles import AngleTable, angle_table
from training.evaluation.figures import (
    ObjectFigures,
    Share,
    as_json,
    clustered_difference,
    clustered_share,
    object_figures,
)
from training.evaluation.zero_shot import Advance, Predictions, Templates, classifier, predict
from training.pictures import UNKNOWN, PictureSet
from training.pictures.opening import open_pictures
from training.student import Student

Labels = NDArray[np.int64]
TEST: Final = "test"
"""The split to evaluate on where none is named."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """A set to evaluate on."""

    name: str
    folder: Path
    split: str = TEST
    """Of a dataset of ours."""
    names: Path | None = None
    """A file of class names, for other layouts."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a model did on a set."""

    name: str
    classes: tuple[str, ...]
    """As they were prompted."""
    pictures: PictureSet
    labels: Labels
    """(P,) true classes."""
    predictions: Predictions
    top1: Share
    top5: Share
    objects: ObjectFigures | None
    angles: AngleTable | None

    @property
    def right(self) -> NDArray[np.bool_]:
        """(P,) whether the first answer is true."""
        found: NDArray[np.bool_] = self.predictions.best[:, 0].numpy() == self.labels
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "classes": len(self.classes),
            "pictures": len(self.labels),
            "objects": self.pictures.table.objects,
            "top1": self.top1.to_json(),
            "top5": self.top5.to_json(),
            "views_of_objects": as_json(self.objects),
            "angles": as_json(self.angles),
        }


@dataclass(frozen=True, slots=True)
class OpenSet:
    """Pictures with their true classes, among those that the set has."""

    name: str
    pictures: PictureSet
    classes: tuple[str, ...]
    """As they are prompted; two may share a name."""
    labels: Labels
    """(P,)."""


def open_set(wanted: Pictures) -> OpenSet:
    """Open a set.

    Raises:
        UsageError: it cannot be read, has pictures without a class, or fewer than two classes.
        EmptyInputError: it has no pictures.
    """
    splits: set[str] = set()

    def keep(split: str, uid: str) -> bool:
        splits.add(split)
        return split == wanted.split

    try:
        pictures = open_pictures(wanted.folder, keep=keep, names=wanted.names)
    except EmptyInputError as error:
        if not splits:
            raise
        raise EmptyInputError(
            f"{wanted.folder} has 0 views in the split {wanted.split}; --split names another one: "
            f"{', '.join(sorted(splits))}"
        ) from error
    table = pictures.table
    spelled = prompt_names(table.categories)
    labels = table.category_index.astype(np.int64)
    if (labels == UNKNOWN).any():
        raise UsageError(f"{wanted.folder} has {int((labels == UNKNOWN).sum())} pictures without a class")
    if len(table.categories) < 2:
        where = f" in the split {wanted.split}" if splits else ""
        others = sorted(splits - {wanted.split})
        remedy = f"--split names another one: {', '.join(others)}" if others else "name other data by --data"
        raise UsageError(
            f"{wanted.folder} has a single class{where}, {table.categories[0]!r}; to name it rightly would "
            f"say nothing; {remedy}"
        )
    return OpenSet(wanted.name, pictures, tuple(spelled[name] for name in table.categories), labels)


def evaluate(
    student: Student,
    opened: OpenSet,
    *,
    templates: Templates,
    batch: int,
    loaders: int,
    device_name: str = "auto",
    advance: Advance | None = None,
) -> Result:
    """Classify a set zero-shot."""
    device = choose_device(device_name, World())
    student = student.to(device).eval()
    predictions = predict(
        student,
        classifier(student, opened.classes, templates, device),
        Pixels(opened.pictures, student.encoder.preprocessing),
        torch.from_numpy(opened.labels),
        batch=batch,
        loaders=loaders,
        device=device,
        advance=advance,
    )
    return summarise(opened, predictions)


def summarise(opened: OpenSet, predictions: Predictions) -> Result:
    """Count what was predicted."""
    table = opened.pictures.table
    best = predictions.best.numpy()
    right = best[:, 0] == opened.labels
    among = (best == opened.labels[:, None]).any(axis=1)
    owner = table.object_index.astype(np.int64)
    return Result(
        name=opened.name,
        classes=opened.classes,
        pictures=opened.pictures,
        labels=opened.labels,
        predictions=predictions,
        top1=clustered_share(right.astype(float), owner),
        top5=clustered_share(among.astype(float), owner),
        objects=object_figures(
            right,
            predictions.margin.numpy().astype(float),
            best[:, 0],
            predictions.features.numpy().astype(float),
            owner,
        ),
        angles=angle_table(right, table.azimuth_deg, table.elevation_deg),
    )


def retention(after: Result, before: Result) -> dict[str, Any]:
    """Compare two models on the same pictures: the difference, and what is left of the accuracy."""
    owner = after.pictures.table.object_index.astype(np.int64)
    difference = clustered_difference(after.right.astype(float), before.right.astype(float), owner)
    kept = after.top1.mean / before.top1.mean if before.top1.mean else None
    return {"difference": difference.to_json(), "retention": kept}


def parse_sets(given: Sequence[str], split: str, names: Path | None) -> list[Pictures]:
    """Read `NAME=FOLDER` or `FOLDER`, each of which needs a name of its own.

    Without one, a dataset of ours is called by its folder and, other than the default, its split.

    Raises:
        UsageError: two have the same name.
    """
    found: dict[str, Pictures] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals else text).expanduser()
        name = name if equals else path.absolute().name + _of_split(path, split)
        if not name or "/" in name or name.startswith("."):
            raise UsageError(f"{name!r} is no name for a set; write NAME=FOLDER with a plain name")
        if name in found:
            raise UsageError(f"two sets are named {name!r}; write NAME=FOLDER")
        found[name] = Pictures(name, path, split, names)
    return list(found.values())


def _of_split(folder: Path, split: str) -> str:
    return f"-{split}" if split != TEST and (folder / INTERNAL).is_dir() else ""
