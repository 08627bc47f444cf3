"""All pictures of the experiment in arrays, with what each shows and which part its object is in."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from captions.tiny.labels import NAMED_SHARE, colour_shares, view_phrase
from captions.tiny.vocabulary import FRONTED, VIEW_PHRASES
from mvcap.records import SelectedObject
from mvcap.sources import sh3f
from render.cameras import Viewpoint
from render.job import RenderFailed
from viewpoint_claim.objects import Part, draw_views, is_frontal, lookalikes, split_objects
from viewpoint_claim.pictures import Rendered, make_job, render_all

FRONTAL_VIEWS: Final = 12
ODD_VIEWS: Final = 18
"""Of each object."""
FEWEST: Final = 8
"""Objects of a category: rarer ones are left out, as three objects teach nobody what a camera is."""
VIEWS_SEED: Final = 0
NO_COLOUR: Final = -1


@dataclass(frozen=True, slots=True)
class Pictures:
    """N pictures of O objects."""

    rgba: NDArray[np.uint8]
    """(N, H, W, 4) with straight alpha."""
    objects: NDArray[np.int64]
    """(N,) index in `uids`, ascending."""
    frontal: NDArray[np.bool_]
    """(N,)"""
    colours: NDArray[np.int64]
    """(N,) index in `COLOURS` of the colour that covers half of the object, or `NO_COLOUR`."""
    phrases: NDArray[np.int64]
    """(N,) index in `VIEW_PHRASES`."""
    uids: list[str]
    """(O,)"""
    nouns: list[str]
    """(O,) category."""

    def save(self, folder: Path) -> None:
        np.save(folder / "rgba.npy", self.rgba)
        arrays = {name: getattr(self, name) for name in ("objects", "frontal", "colours", "phrases")}
        np.savez(folder / "labels.npz", **arrays)
        lists = {"uids": self.uids, "nouns": self.nouns}
        (folder / "objects.json").write_text(json.dumps(lists), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; the pixels stay on the disk until they are used."""
        lists = json.loads((folder / "objects.json").read_text("utf-8"))
        with np.load(folder / "labels.npz") as arrays:
            return cls(
                rgba=np.load(folder / "rgba.npy", mmap_mode="r"),
                **arrays,
                **lists,
            )


@dataclass(frozen=True, slots=True)
class Parted:
    """Pictures, with the part that each object is in."""

    pictures: Pictures
    parts: list[Part]
    """(O,)"""
    unseen: frozenset[str]
    """Categories that tuning never sees."""

    @classmethod
    def of(cls, pictures: Pictures, *, seed: int) -> Self:
        split = split_objects(dict(zip(pictures.uids, pictures.nouns, strict=True)), seed=seed)
        return cls(pictures, [split.part[uid] for uid in pictures.uids], split.unseen)

    def rows(self, part: Part, *, frontal: bool | None = None) -> NDArray[np.int64]:
        """Find a part's pictures: the frontal ones, the odd ones, or all."""
        inside = np.array([name == part for name in self.parts])[self.pictures.objects]  # (N,)
        return np.flatnonzero(inside if frontal is None else inside & (self.pictures.frontal == frontal))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is in no part."""

    failed: dict[str, str]
    """Why, by uid."""
    lookalikes: dict[str, str]
    """The other one's uid, which stays."""
    flawed_views: int


def make_pictures(cache: Path, *, workers: int) -> tuple[Pictures, LeftOut]:
    """List and render the furniture; an object that looks like another one is left out."""
    items = {item.uid: item for item in common()}
    viewpoints = {uid: viewpoints_of(item) for uid, item in items.items()}
    jobs = [make_job(items[uid], viewpoints[uid]) for uid in items]
    found = dict(zip(items, render_all(jobs, cache, workers=workers), strict=True))
    rendered = {uid: result for uid, result in found.items() if isinstance(result, Rendered)}
    alike = lookalikes({uid: result.portrait for uid, result in rendered.items()})
    left_out = LeftOut(
        {uid: str(result) for uid, result in found.items() if isinstance(result, RenderFailed)},
        alike,
        sum(int((~result.good).sum()) for result in rendered.values()),
    )
    kept = sorted(uid for uid in rendered if uid not in alike)
    nouns = {uid: item.category for uid, item in items.items()}
    fronts = {uid: front_of(items[uid]) for uid in kept}
    assembled = assemble(kept, rendered, viewpoints, nouns, fronts=fronts)
    return Pictures(**assembled, uids=kept, nouns=[nouns[uid] for uid in kept]), left_out


def common() -> Iterator[SelectedObject]:
    """List the furniture of reviewed categories that have `FEWEST` objects or more."""
    options = sh3f.Options(selection="labelled")
    items = [item for item in sh3f.list_objects(options) if isinstance(item, SelectedObject)]
    counts = Counter(item.category for item in items)
    yield from (item for item in items if counts[item.category] >= FEWEST)


def front_of(item: SelectedObject) -> float:
    front = item.record.front_azimuth_deg
    assert front is not None, f"{item.uid} has no front"
    return front


def viewpoints_of(item: SelectedObject) -> tuple[Viewpoint, ...]:
    return draw_views(item.uid, front_of(item), frontal=FRONTAL_VIEWS, odd=ODD_VIEWS, seed=VIEWS_SEED)


def assemble(
    uids: list[str],
    rendered: dict[str, Rendered],
    viewpoints: dict[str, tuple[Viewpoint, ...]],
    nouns: dict[str, str],
    *,
    fronts: dict[str, float],
) -> dict[str, NDArray[np.generic]]:
    """Put the good pictures of all objects one after another, with their labels."""
    rgba, objects, frontal, phrases = [], [], [], []
    for index, uid in enumerate(uids):
        for picture, good, view in zip(rendered[uid].rgba, rendered[uid].good, viewpoints[uid], strict=True):
            if good:
                turn = (view.azimuth_deg - fronts[uid] + 180) % 360 - 180
                phrase = view_phrase(view.elevation_deg, turn if nouns[uid] in FRONTED else None)
                rgba.append(picture)
                objects.append(index)
                frontal.append(is_frontal(turn, view.elevation_deg))
                phrases.append(VIEW_PHRASES.index(phrase))
    pixels = np.stack(rgba)
    return {
        "rgba": pixels,
        "objects": np.array(objects),
        "frontal": np.array(frontal),
        "phrases": np.array(phrases),
        "colours": named_colours(pixels),
    }


def named_colours(rgba: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Name the colour that covers half of each object, (N,), in chunks to spare memory."""
    found = []
    for chunk in np.array_split(rgba, max(1, len(rgba) // 256)):
        shares = colour_shares(chunk)  # (n, colours)
        found.append(np.where(shares.max(axis=1) >= NAMED_SHARE, shares.argmax(axis=1), NO_COLOUR))
    return np.concatenate(found)
