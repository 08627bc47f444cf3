"""The views of a dataset as items that torch's `DataLoader` batches."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import torch
from PIL import Image, ImageOps

from mvcap import schema
from mvcap.config import HEX_COLOUR
from mvcap.errors import UsageError, did_you_mean

Transform: TypeAlias = Callable[[Image.Image], Any]
"""What makes of an RGB picture whatever the model takes, such as open_clip's `preprocess`."""

COLUMNS: Final = {
    field.name: field.type for field in schema.VIEW_SCHEMA if not pa.types.is_nested(field.type)
}
"""Those that hold one text or number."""


class Views(Protocol):
    """What is asked of a dataset: see `mvcap.dataset.Dataset`."""

    def __len__(self) -> int: ...

    def locate(self, index: int) -> tuple[str, int]: ...

    def read_rows(self, uid: str, columns: Sequence[str]) -> list[dict[str, Any]]: ...


class TorchViews:
    """A map-style dataset for torch: see `mvcap.dataset.Dataset.to_torch`."""

    def __init__(self, views: Views, transform: Transform | None, columns: Sequence[str]) -> None:
        for name in columns:
            if name not in COLUMNS:
                raise UsageError(
                    f"no column {name!r} of texts or numbers{did_you_mean(name, list(COLUMNS))} "
                    f"(valid: {', '.join(COLUMNS)})"
                )
        self._views = views
        self._transform = transform or picture_tensor
        self._columns = tuple(columns)

    def __len__(self) -> int:
        return len(self._views)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Read a batch; the pictures of an object are read once for all its views in it."""
        places = [self._views.locate(index) for index in indices]
        columns = list(dict.fromkeys(["image", "background", *self._columns]))
        rows = {uid: self._views.read_rows(uid, columns) for uid, _ in dict.fromkeys(places)}
        return [self._item(rows[uid][position]) for uid, position in places]

    def _item(self, row: dict[str, Any]) -> dict[str, Any]:
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            image = self._transform(_flat(ImageOps.exif_transpose(picture), row["background"]))
        return {"image": image, **{name: _collatable(name, row[name]) for name in self._columns}}


def _flat(picture: Image.Image, background: str) -> Image.Image:
    """Return an RGB picture, its alpha composited as the captioner saw it; `background` may name a picture,
    which then is behind the object already."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    plain = background if re.fullmatch(HEX_COLOUR, background) else schema.HIDDEN_COLOUR
    canvas = Image.new("RGBA", picture.size, plain)
    return Image.alpha_composite(canvas, picture.convert("RGBA")).convert("RGB")


def picture_tensor(picture: Image.Image) -> torch.Tensor:
    """Return an RGB picture as (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def _collatable(name: str, value: Any) -> Any:
    """Put something of the column's type where there is nothing."""
    if value is not None:
        return value
    if pa.types.is_boolean(COLUMNS[name]):
        return False
    return "" if pa.types.is_string(COLUMNS[name]) else float("nan")
