"""Anchors and outliers of all tuning objects, kept by the product's own keeper, from pictures in memory."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.batches import Pixels
from training.data import join
from training.distributed import World
from training.maximising import AnchorKeeper
from training.pictures import UNKNOWN, EncodedPicture, PictureTable
from training.student import Student
from viewpoint_claim.batches import TuningViews
from viewpoint_claim.data import Pictures
from viewpoint_claim.recipe import Recipe
from viewpoint_claim.tiny_clip import CHUNK


class EncodedViews:
    """The tuning views as the product reads pictures; see `training.pictures.PictureSet`."""

    def __init__(self, pictures: Pictures, views: TuningViews) -> None:
        self._pictures, self._rows = pictures, views.rows
        count = len(views.rows)
        nouns = sorted(set(pictures.nouns))
        owners = pictures.objects[views.rows]
        index = np.array([nouns.index(pictures.nouns[owner]) for owner in owners], np.int32)
        unknown = np.full(count, np.nan, np.float32)
        self.table = PictureTable(
            object_index=views.objects.astype(np.int32),
            categories=tuple(nouns),
            category_index=index,
            captions=nouns,
            caption_index=np.where(views.captioned, index, UNKNOWN).astype(np.int32),
            azimuth_deg=unknown,
            elevation_deg=unknown,
        )

    def read(self, rows: Sequence[int]) -> list[EncodedPicture]:
        return [EncodedPicture(_png(self._pictures.rgba[self._rows[row]])) for row in rows]

    def key(self, row: int) -> str:
        return f"{self._pictures.uids[self._pictures.objects[self._rows[row]]]}#{row}"


def make_keeper(
    student: Student, pictures: Pictures, views: TuningViews, recipe: Recipe, folder: Path
) -> AnchorKeeper | None:
    """Make what holds the anchors; None where no term wants them, or batches make their own."""
    if not recipe.loss.wants_anchors or recipe.anchors.source == "batch":
        return None
    data = join(EncodedViews(pictures, views), None)

    def embed(pixels: Tensor) -> Tensor:
        return student.eval().embed(pixels)

    return AnchorKeeper(
        recipe.anchors,
        data,
        Pixels(data.views, student.encoder.preprocessing),
        embed,
        width=student.encoder.width,
        run=folder,
        world=World(),
        device=torch.device("cpu"),
        at_once=CHUNK,
        every_steps=recipe.anchors.every_steps or 1,
        loaders=0,
    )


def _png(rgba: np.ndarray) -> bytes:
    Image.fromarray(rgba).save(buffer := io.BytesIO(), "PNG", compress_level=1)
    return buffer.getvalue()
