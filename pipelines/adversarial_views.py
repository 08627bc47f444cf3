"""The viewpoints of a dataset's objects from which a model fails most, found with the real renderer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mvcap import files, plugins, recipes
from mvcap.config import Config
from mvcap.errors import NothingSurvivedError, UsageError
from mvcap.places import Place
from mvcap.plan import stable_hash
from mvcap.records import Rejected, SelectedObject
from mvcap.storage import Store
from pipelines.adversarial_findings import Found, describe, summarise, write_findings
from pipelines.fetching import fetch_ahead, open_fetchers
from pipelines.planning import saved_settings
from pipelines.rendering import open_renderer, scene_arguments
from render.cameras import Viewpoint, hemisphere_viewpoints
from render.encoding import composite, plain_colour
from render.image_checks import judge_picture
from render.job import Renderer, RenderFailed, RenderJob
from render.stage import make_scene
from training.assembling import choose_device
from training.distributed import World
from training.evaluation.evaluate import OpenSet, open_set, parse_sets
from training.evaluation.running import Model
from training.evaluation.viewpoint_search import Angles, look_at, search_worst
from training.evaluation.zero_shot import Templates, classifier
from training.pictures.dataset import DatasetPictures
from training.student import Student

RESULTS: Final = "adversarial.json"
RANDOM: Final = 24
ROUNDS: Final = 3
PER_ROUND: Final = 8
"""The search has as many pictures as the random viewpoints it begins with; the control has as many again."""


class Classifier:
    """Sees classes in pictures.

    Args:
        names: of the classes, as they are prompted.
    """

    def __init__(
        self, student: Student, names: Sequence[str], templates: Templates, device: torch.device
    ) -> None:
        self.names = names
        self._student = student.to(device).eval()
        self._classes = classifier(student, names, templates, device)  # (C, D)

    def similarities(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return (V, C) cosines, on the CPU."""
        fitted = [np.asarray(self._student.encoder.preprocessing.fit(image)) for image in images]
        pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2)
        return (self._student.embed(pixels.to(self._classes.device)) @ self._classes.T).cpu()


class Eyes:
    """Looks at one object through a renderer, and remembers from where it was most mistaken.

    Args:
        label: its true class.
    """

    def __init__(
        self, config: Config, item: SelectedObject, renderer: Renderer, classes: Classifier, label: int
    ) -> None:
        self._config = config
        self._item = item
        self._renderer = renderer
        self._classes = classes
        self._label = label
        self._background: NDArray[np.uint8] = plain_colour(config.render.background)
        self._worst_margin = float("inf")
        self.worst: tuple[Image.Image, int] | None = None
        """The picture, and what was seen in it."""

    def look(self, angles: Sequence[Angles]) -> list[float | None]:
        """Render, and return margins; None for a picture that no dataset would hold."""
        pictures = self._renderer.render(self._job(angles))
        margins: list[float | None] = [None] * len(pictures)
        kept = [n for n, view in enumerate(pictures) if not judge_picture(view.rgba, view.facts).is_bad]
        if not kept:
            return margins
        images = [Image.fromarray(composite(pictures[n].rgba, self._background)) for n in kept]
        similarity = self._classes.similarities(images)
        others = similarity.clone()
        others[:, self._label] = -torch.inf
        found = (similarity[:, self._label] - others.amax(dim=1)).tolist()
        for n, margin, image, row in zip(kept, found, images, similarity, strict=True):
            margins[n] = margin
            if margin < self._worst_margin:
                self._worst_margin, self.worst = margin, (image, int(row.argmax()))
        return margins

    def _job(self, angles: Sequence[Angles]) -> RenderJob:
        camera, record = self._config.render.camera, self._item.record
        return RenderJob(
            uid=self._item.uid,
            asset=record.asset,
            rotation=record.rotation,
            viewpoints=tuple(Viewpoint(*each) for each in angles),
            distance=camera.distance,
            margin=camera.margin,
            scene=make_scene(**scene_arguments(self._config)),
        )


def search_all(
    model: Model,
    data: Sequence[str],
    out: Path,
    *,
    split: str,
    objects: int,
    templates: Templates,
    with_base: bool,
    device: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Search datasets by a model and by the one it was tuned from; write and return what was found.

    Raises:
        OutputError: the folder cannot be written.
        UsageError: one of them is no dataset of ours, or was not rendered.
        NothingSurvivedError: no object of one could be rendered.
        MvcapError: the model cannot be had.
    """
    files.require_writable(out)
    report: dict[str, Any] = {}
    for wanted in parse_sets(data, split, None):
        opened = open_set(wanted)
        if not isinstance(opened.pictures, DatasetPictures):
            raise UsageError(
                f"{wanted.folder} is no dataset of ours: only its objects could be rendered anew"
            )
        config = recipes.build_config(
            saved_settings(Store(wanted.folder)), plugins.options_model, captions=False
        )
        told = report[opened.name] = {}
        for name, student in _students(model, with_base):
            say(f"{name} on {opened.name}")
            found = search_dataset(
                config,
                wanted.folder,
                student,
                opened,
                objects=objects,
                templates=templates,
                device=device,
                say=say,
            )
            told[name] = summarise(found)
            write_findings(out, f"{opened.name}-{name}", found)
    files.write_json(out / RESULTS, report)
    say(f"wrote {out}")
    return report


def describe_all(report: Mapping[str, Any]) -> str:
    """Say a line for each model on each dataset."""
    return "\n".join(
        describe(f"{name} on {dataset}", told)
        for dataset, models in report.items()
        for name, told in models.items()
    )


def _students(model: Model, with_base: bool) -> Iterator[tuple[str, Student]]:
    yield ("tuned" if model.run else "pretrained"), model.open()
    if model.run and with_base:
        yield "pretrained", model.open_base()


def search_dataset(
    config: Config,
    dataset: Place,
    student: Student,
    opened: OpenSet,
    *,
    objects: int,
    templates: Templates,
    device: str,
    say: Callable[[str], None],
) -> list[Found]:
    """Search the first objects of an opened set of a dataset, in this process.

    Args:
        config: as the dataset recorded it.
        opened: which objects, and their classes.
        device: see `choose_device`.

    Raises:
        NothingSurvivedError: none of them could be rendered.
    """
    classes = Classifier(student, opened.classes, templates, choose_device(device, World()))
    labels = _labels(opened)
    store = Store(dataset)
    items = [item for shard in store.require_plan().shards for item in store.read_objects(shard)]
    chosen = [item for item in items if item.uid in labels][:objects]
    found: list[Found] = []
    with open_renderer(config) as renderer:
        for item in fetch_ahead(chosen, open_fetchers(config), threads=1):
            result: Found | str
            if isinstance(item, Rejected):
                result = f"{item.reason}: {item.message}"
            else:
                eyes = Eyes(config, item, renderer, classes, labels[item.uid])
                result = _search(config, item.uid, eyes, classes.names[labels[item.uid]], classes.names)
            if isinstance(result, str):
                say(f"{item.uid} is left out: {result}")
                continue
            found.append(result)
            azimuth, elevation = result.worst.angles
            say(
                f"{len(found)} of {len(chosen)}: {item.uid}, margin {result.worst.margin:+.3f} at azimuth "
                f"{azimuth:.0f}, elevation {elevation:.0f}"
            )
    if not found:
        raise NothingSurvivedError(f"none of {len(chosen)} objects of {dataset} could be rendered")
    return found


def _labels(opened: OpenSet) -> dict[str, int]:
    """Return each object's class by its uid."""
    pictures = opened.pictures
    assert isinstance(pictures, DatasetPictures)
    numbers, first = np.unique(pictures.table.object_index, return_index=True)
    return {
        pictures.uid(int(number)): int(opened.labels[row]) for number, row in zip(numbers, first, strict=True)
    }


def _search(config: Config, uid: str, eyes: Eyes, category: str, names: Sequence[str]) -> Found | str:
    """Return what was found of an object, or why nothing was."""
    rng = np.random.default_rng([config.seed, stable_hash(uid)])
    drawn = hemisphere_viewpoints(RANDOM + ROUNDS * PER_ROUND, rng)
    angles = [(view.azimuth_deg % 360, view.elevation_deg) for view in drawn]
    try:
        random = look_at(eyes.look, angles[:RANDOM])
        searched = search_worst(eyes.look, random, rounds=ROUNDS, per_round=PER_ROUND, rng=rng)
        worst = eyes.worst
        control = look_at(eyes.look, angles[RANDOM:])
    except RenderFailed as failure:
        return f"{failure.reason}: {failure.message}"
    if worst is None:
        return "it shows too little from everywhere"
    picture, predicted = worst
    return Found(uid, category, random, control, searched, picture, names[predicted])
