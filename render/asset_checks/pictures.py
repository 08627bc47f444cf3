"""How many pixels a picture unpacks to, read from its header alone."""

import io
import mmap
import re
import struct
import warnings
from pathlib import Path
from typing import Final

from PIL import Image

from mvcap.errors import TOO_BIG
from render.asset_checks.problem import AssetProblem, Caps

PNG: Final = b"\x89PNG\r\n\x1a\n"
PNG_SIZE: Final = struct.Struct(">16xII")
SIGNATURES: Final = re.compile(re.escape(PNG) + rb"|\xff\xd8\xff")
"""Of PNG and JPEG, the kinds that other formats carry inside them."""
HEADER_BYTES: Final = 1 << 20
"""Within which a picture says how large it is: metadata may stand before that."""
NO_PICTURE: Final = (
    *(OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, RuntimeError),
    struct.error,
)
"""What is raised for a file that is none: Blender will find it missing, and says so."""


def check_picture_file(path: Path, caps: Caps) -> None:
    with path.open("rb") as file:
        check_picture(file.read(HEADER_BYTES), path.name, caps)


def check_pictures_within(content: mmap.mmap, name: str, caps: Caps) -> None:
    """Find the pictures in the bytes of another format by their signatures, and check each."""
    for found in SIGNATURES.finditer(content):
        start = found.start()
        check_picture(content[start : start + HEADER_BYTES], f"a picture in {name}", caps)


def check_picture(head: bytes, name: str, caps: Caps) -> None:
    """Refuse a picture of too many pixels by its first bytes; what is no picture passes.

    Raises:
        AssetProblem: `TOO_BIG`, by our cap or by Pillow's own against decompression bombs.
    """
    try:
        width, height = size_of(head)
    except Image.DecompressionBombError as error:
        raise AssetProblem(TOO_BIG, f"{name}: {error}") from error
    except NO_PICTURE:
        return
    if width * height > caps.texture_pixels:
        allowed = f"max_texture_mpx allows {caps.texture_pixels}"
        raise AssetProblem(TOO_BIG, f"{name} has {width} x {height} pixels; {allowed}")


def size_of(head: bytes) -> tuple[int, int]:
    if head.startswith(PNG):  # Pillow would want to see the pixels begin, however far away that is
        width, height = PNG_SIZE.unpack_from(head)
        return width, height
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own cap decides
        with Image.open(io.BytesIO(head)) as picture:
            return picture.width, picture.height
