"""Rendered views as training examples: pixels and what a caption should say about them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow.dataset
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from captions.tiny.labels import colour_word, dominant_colour, is_between_phrases, view_phrase
from captions.tiny.vocabulary import COLOURS, FRONTED, VIEW_PHRASES
from mvcap.plan import stable_hash
from mvcap.schema import OBJECTS

COLUMNS = ["uid", "category", "view_index", "image", "background", "azimuth_deg", "elevation_deg"]


@dataclass(frozen=True, slots=True)
class Examples:
    """N views of one size; every array and list has N entries."""

    rgba: NDArray[np.uint8]
    """(N, H, W, 4) sRGB, straight alpha."""
    backgrounds: NDArray[np.uint8]
    """(N, 3) sRGB, as recorded."""
    uids: list[str]
    view_indices: list[int]
    categories: list[str]
    colours: NDArray[np.int64]
    """Index of the dominant colour in `COLOURS`."""
    shares: NDArray[np.float32]
    """Share of the foreground that has this colour, in [0, 1]."""
    views: NDArray[np.int64]
    """Index in `VIEW_PHRASES`."""
    between: NDArray[np.bool_]
    """Whether the camera stands between two phrases (`labels.is_between_phrases`)."""
    elevations_deg: NDArray[np.float32]
    from_front_deg: NDArray[np.float32]
    """Azimuth relative to the object's front; NaN where it has none."""

    def __len__(self) -> int:
        return len(self.uids)

    def where(self, chosen: NDArray[np.bool_]) -> Self:
        """Return the views whose entry in (N,) is true."""
        rows = np.flatnonzero(chosen)
        return type(self)(
            rgba=self.rgba[rows],
            backgrounds=self.backgrounds[rows],
            uids=[self.uids[row] for row in rows],
            view_indices=[self.view_indices[row] for row in rows],
            categories=[self.categories[row] for row in rows],
            colours=self.colours[rows],
            shares=self.shares[rows],
            views=self.views[rows],
            between=self.between[rows],
            elevations_deg=self.elevations_deg[rows],
            from_front_deg=self.from_front_deg[rows],
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Put examples of one picture size one after another."""
        columns: dict[str, Any] = {}
        for field in fields(cls):
            pieces = [getattr(part, field.name) for part in parts]
            arrays = isinstance(pieces[0], np.ndarray)
            columns[field.name] = np.concatenate(pieces) if arrays else list(chain.from_iterable(pieces))
        return cls(**columns)

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """Put every view on its background: (N, H, W, 3)."""
        grounds = self.backgrounds[:, None, None]
        return np.stack([composite(*pair) for pair in zip(self.rgba, grounds, strict=True)])

    def colour_words(self) -> list[str | None]:
        """Name each view's colour, or None where no colour covers enough of it."""
        return [colour_word(*pair) for pair in zip(self.colours, self.shares, strict=True)]


def held_out_uids() -> frozenset[str]:
    """Read which objects are never trained on: the demo's."""
    text = (files("captions.tiny") / "held_out.txt").read_text("utf-8")
    return frozenset(text.split())


def is_validation(uid: str) -> bool:
    """Tell whether an object is left out of training while the recipe is being chosen: one in eight."""
    return stable_hash(uid) % 8 == 0 and uid not in held_out_uids()


def read_examples(
    datasets: Sequence[Path],
    *,
    chosen: Callable[[str], bool] = lambda uid: True,
    views: int | None = None,
    recoloured: float = 0.0,
) -> Examples:
    """Read finished datasets of views that keep their alpha (`render.image.keep_alpha=true`).

    Args:
        chosen: which objects, by their uid.
        views: the first so many of each object in each dataset; None means all.
        recoloured: share of the views whose colour channels are exchanged, before their colour is measured.

    Raises:
        ValueError: there are no such views, or pictures without alpha, whose foreground is not known.
    """
    fronts: dict[str, float | None] = {}
    rows: list[dict[str, Any]] = []
    for dataset in datasets:
        objects = pyarrow.parquet.read_table(dataset / OBJECTS, columns=["uid", "front_azimuth_deg"])
        fronts |= dict(zip(*(column.to_pylist() for column in objects.columns), strict=True))
        wanted = pyarrow.dataset.field("uid").isin([uid for uid in fronts if chosen(uid)])
        if views is not None:
            wanted &= pyarrow.dataset.field("view_index") < views
        files = pyarrow.dataset.dataset(dataset / "data", format="parquet")
        rows += files.to_table(columns=COLUMNS, filter=wanted).to_pylist()
    return examples_from_rows(rows, fronts, recoloured=recoloured)


def examples_from_rows(
    rows: Iterable[Mapping[str, Any]],
    fronts_deg: Mapping[str, float | None],
    *,
    recoloured: float = 0.0,
) -> Examples:
    """Measure the labels of rows as `mvcap.schema` describes them.

    Args:
        fronts_deg: uid -> azimuth of the object's front, None where it is not known.
    """
    rows = sorted(rows, key=lambda row: (row["uid"], row["view_index"]))
    if not rows:
        raise ValueError("there are no views to learn from")
    pictures = [exchange_channels(_decode(row), row["uid"], row["view_index"], recoloured) for row in rows]
    colours, shares = zip(*(dominant_colour(picture) for picture in pictures), strict=True)
    from_front = [_from_front_deg(row, fronts_deg.get(row["uid"])) for row in rows]
    cameras = [(row["elevation_deg"], turn) for row, turn in zip(rows, from_front, strict=True)]
    return Examples(
        rgba=np.stack(pictures),
        backgrounds=np.array([tuple(bytes.fromhex(row["background"][1:])) for row in rows], np.uint8),
        uids=[row["uid"] for row in rows],
        view_indices=[row["view_index"] for row in rows],
        categories=[row["category"] for row in rows],
        colours=np.array([COLOURS.index(colour) for colour in colours]),
        shares=np.array(shares, np.float32),
        views=np.array([VIEW_PHRASES.index(view_phrase(*camera)) for camera in cameras]),
        between=np.array([is_between_phrases(*camera) for camera in cameras]),
        elevations_deg=np.array([row["elevation_deg"] for row in rows], np.float32),
        from_front_deg=np.array([np.nan if turn is None else turn for turn in from_front], np.float32),
    )


def exchange_channels(rgba: NDArray[np.uint8], uid: str, view_index: int, share: float) -> NDArray[np.uint8]:
    """Exchange red, green and blue of (H, W, 4) in a `share` of the views, drawn by their names.

    An object then comes in several colours, so that its shape does not give its colour away.
    """
    rng = np.random.default_rng([stable_hash(uid), view_index])
    if rng.random() >= share:
        return rgba
    return rgba[..., [*rng.permutation(3), 3]]


def _from_front_deg(row: Mapping[str, Any], front_deg: float | None) -> float | None:
    if front_deg is None or row["category"] not in FRONTED:
        return None
    return float(row["azimuth_deg"]) - front_deg


def _decode(row: Mapping[str, Any]) -> NDArray[np.uint8]:
    with Image.open(BytesIO(row["image"]["bytes"])) as image:
        if "A" not in image.getbands():
            raise ValueError(
                f"view {row['view_index']} of {row['uid']} has no alpha channel, which tells the object from "
                "its background; render with render.image.format=png and render.image.keep_alpha=true"
            )
        return np.asarray(image.convert("RGBA"))


def composite(rgba: NDArray[np.uint8], background: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put straight-alpha (..., 4) pixels on (..., 3) colours."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return np.rint(rgba[..., :3] * alpha + background.astype(np.float32) * (1 - alpha)).astype(np.uint8)
