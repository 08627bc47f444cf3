"""Many small pictures in few files: a page of thousands of images opens as fast as one of dozens."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageOps

COLUMNS: Final = 4
CELLS: Final = COLUMNS * COLUMNS
"""Of a sheet: a browser decodes whole sheets, and a page of the list may touch as many as it has pictures."""
QUALITIES: Final = (82, 60, 35, 10, 1)
"""Of WebP, the first that fits. 82 takes 1.2 kB for a render of 160 px, 9 kB for noise (measured)."""
METHOD: Final = 2
"""Of WebP's effort from 0 to 6."""


@dataclass(frozen=True, slots=True)
class Sheets:
    """Finished sheets, each full but the last one."""

    uris: Sequence[str]
    """WebP files as data URIs."""
    last_rows: int
    """Rows of cells in the last sheet, which is cut off below them."""


class SpriteSheets:
    """Collects pictures into square cells of WebP sheets.

    Args:
        side_px: of a cell; smaller pictures are not enlarged but stand in its middle.
        cell_bytes: mean of a sheet's cells that makes its quality go down.
    """

    def __init__(self, *, side_px: int, cell_bytes: int) -> None:
        self.side_px = side_px
        self._limit = cell_bytes * CELLS
        self._uris: list[str] = []
        self._sheet: Image.Image | None = None
        self._count = 0

    def add(self, encoded: bytes) -> int:
        """Take a stored picture and return its place: sheet times `CELLS` plus cell."""
        place, cell = self._count, self._count % CELLS
        if cell == 0:
            self._flush()
        if self._sheet is None:
            self._sheet = Image.new("RGB", (COLUMNS * self.side_px, COLUMNS * self.side_px), "white")
        picture = fitted(encoded, self.side_px)
        corner = (cell % COLUMNS * self.side_px, cell // COLUMNS * self.side_px)
        middle = [at + (self.side_px - size) // 2 for at, size in zip(corner, picture.size, strict=True)]
        self._sheet.paste(picture, (middle[0], middle[1]))
        self._count += 1
        return place

    def finish(self) -> Sheets:
        """Return what was drawn; nothing may be added afterwards."""
        self._flush()
        return Sheets(self._uris, self._rows())

    def _rows(self) -> int:
        """Count the rows of cells that the present sheet has filled or begun."""
        return (self._count - 1) % CELLS // COLUMNS + 1 if self._count else 0

    def _flush(self) -> None:
        if self._sheet is None:
            return
        drawn = self._sheet.crop((0, 0, self._sheet.width, self._rows() * self.side_px))
        content = encode_within(drawn, self._limit)
        self._uris.append("data:image/webp;base64," + b64encode(content).decode())
        self._sheet = None


def encode_within(picture: Image.Image, limit: int) -> bytes:
    """Encode as WebP, at the highest quality that stays within `limit` bytes or else at the lowest."""
    for quality in QUALITIES:
        picture.save(buffer := io.BytesIO(), "WEBP", quality=quality, method=METHOD)
        if buffer.tell() <= limit:
            break
    return buffer.getvalue()


def fitted(encoded: bytes, side_px: int) -> Image.Image:
    """Decode a stored picture, upright and on white, and shrink it into a square, its proportions kept."""
    with Image.open(io.BytesIO(encoded)) as image:
        image.draft("RGB", (side_px, side_px))  # of a large JPEG, decode only as much as is needed
        upright = ImageOps.exif_transpose(image)
    picture = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    if picture.mode == "RGB":
        return picture
    flat = Image.new("RGBA", picture.size, "white")
    flat.alpha_composite(picture)
    return flat.convert("RGB")
