"""FBX: the one kind that Blender imports, its outline, and the pictures inside it."""

import mmap
import struct
from pathlib import Path
from typing import Final

from mvcap.errors import BAD_ASSET
from render.asset_checks.pictures import check_pictures_within
from render.asset_checks.problem import AssetProblem, Caps

MAGIC: Final = b"Kaydara FBX Binary"
HEADER: Final = struct.Struct("<23xI")
RECORD: Final = struct.Struct("<III")
LONG_RECORD: Final = struct.Struct("<QQQ")
"""End, number of properties and their bytes; 64 bits each since version 7500."""
LONG_SINCE: Final = 7500


def check_fbx(path: Path, caps: Caps) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[: len(MAGIC)] != MAGIC or len(content) < HEADER.size:
            raise AssetProblem(BAD_ASSET, f"{path.name} is not a binary FBX, the only kind Blender imports")
        check_outline(content, path.name)
        check_pictures_within(content, path.name, caps)


def check_outline(content: mmap.mmap, name: str) -> None:
    """Follow the records of the top level to the one of zeros that ends them.

    The importer allocates what they claim before it reads it.
    """
    (version,) = HEADER.unpack_from(content)
    record = LONG_RECORD if version >= LONG_SINCE else RECORD
    position = HEADER.size
    while position + record.size <= len(content):
        end, properties, property_bytes = record.unpack_from(content, position)
        if end == 0:
            return
        body = position + record.size
        if not body < end <= len(content) or property_bytes > end - body or properties > property_bytes:
            raise AssetProblem(BAD_ASSET, f"{name} has a record at byte {position} that claims {end} bytes")
        position = end
    raise AssetProblem(BAD_ASSET, f"{name} ends in the middle of its records")
