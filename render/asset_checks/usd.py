"""USD in its four suffixes. What a layer refers to is checked by Blender's own USD library, in the child."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from mvcap.errors import BAD_ASSET, TOO_BIG
from render.asset_checks.pictures import HEADER_BYTES, check_picture
from render.asset_checks.problem import AssetProblem, Caps

TEXT: Final = b"#usda 1.0"
CRATE: Final = b"PXR-USDC"
MAX_ENTRIES: Final = 10_000
DAMAGED: Final = (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OverflowError)
"""What `zipfile` raises, depending on where it notices; a RuntimeError where an entry is encrypted."""


def check_usd(path: Path, caps: Caps) -> None:
    with path.open("rb") as file:
        head = file.read(len(TEXT))
    if not head.startswith((TEXT, CRATE)):
        raise AssetProblem(BAD_ASSET, f"{path.name} is neither a text nor a binary USD layer")


def check_usdz(path: Path, caps: Caps) -> None:
    """Check a package: an archive without compression, names inside it, a USD layer first."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            check_entries(path, entries)
            for entry in entries:
                with archive.open(entry) as file:
                    check_picture(file.read(HEADER_BYTES), f"{entry.filename} in {path.name}", caps)
    except DAMAGED as error:
        raise AssetProblem(BAD_ASSET, f"{path.name} is not a USDZ archive: {error}") from error


def check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Hold the entries to the USDZ specification, version 1.3, which leaves no room for a zip bomb."""
    if len(entries) > MAX_ENTRIES:
        raise AssetProblem(TOO_BIG, f"{path.name} holds {len(entries)} files; at most {MAX_ENTRIES} are read")
    if not entries or PurePosixPath(entries[0].filename).suffix.lower() not in {".usd", ".usda", ".usdc"}:
        raise AssetProblem(BAD_ASSET, f"{path.name} does not start with a USD layer")
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.filename:
            raise AssetProblem(BAD_ASSET, f"{path.name} holds {entry.filename[:200]!r}, outside of itself")
        if name.suffix.lower() == ".usdz":
            raise AssetProblem(BAD_ASSET, f"{path.name} holds another package, {entry.filename[:200]!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise AssetProblem(BAD_ASSET, f"{path.name} is compressed, which a USDZ must not be")
