"""The stage that takes pictures as they are, where a source gives pictures instead of 3D objects.

It stands in the place of the render stage: its commits are that stage's, and captions follow on them.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Final

import PIL

from captions.stage import UnreadableImageError
from mvcap import plugins
from mvcap.commits import RENDER
from mvcap.config import Config, SourceConfig
from mvcap.errors import BAD_ASSET, TOO_BIG, Reason, UsageError
from mvcap.files import sha256_of
from mvcap.records import Rejected, SelectedObject, View
from mvcap.schema import SCHEMA_VERSION
from mvcap.sources.images import Picture
from pipelines.pictures import storable_picture
from pipelines.stages import Stage

STAGE: Final = "import"
"""What failures say."""
LARGEST_FILE_BYTES: Final = 256 * 2**20


def gives_pictures(config: Config) -> bool:
    """Tell whether the configured sources give pictures, which are not rendered.

    Raises:
        UsageError: some do, and some give objects.
    """
    kinds = {_lists_pictures(section) for section in config.sources}
    if len(kinds) > 1:
        named = ", ".join(section.source for section in config.sources)
        raise UsageError(f"{named}: pictures and 3D objects cannot be in one dataset; build two")
    return kinds == {True}


def _lists_pictures(section: SourceConfig) -> bool:
    return hasattr(plugins.load("mvcap.sources", section.source), "list_pictures")


def list_pictures(config: Config) -> dict[str, tuple[Picture, ...]]:
    """Map every object's uid to its pictures."""
    found: dict[str, tuple[Picture, ...]] = {}
    for section in config.sources:
        found |= plugins.load("mvcap.sources", section.source).list_pictures(section.options)
    return found


class PictureReader:
    """A `pipelines.stages.Worker` that reads an object's picture files."""

    made_by: Mapping[str, Any] = {"name": "pictures", "pillow": PIL.__version__}
    busy_s = None

    def __init__(self, config: Config) -> None:
        self._background = config.render.background
        self._pictures = list_pictures(config)

    def __call__(self, records: Iterable[SelectedObject]) -> Iterator[View | Rejected]:
        for item in records:
            for picture in self._pictures.get(item.uid, ()):
                yield self._read(item, picture)
            if item.uid not in self._pictures:
                yield Rejected(item.uid, STAGE, BAD_ASSET, f"{item.record.source_id!r} is no longer there")

    def _read(self, item: SelectedObject, picture: Picture) -> View | Rejected:
        def reject(reason: Reason, message: str) -> Rejected:
            return Rejected(item.uid, STAGE, reason, message, picture.view_index)

        if picture.path is None:
            return reject(BAD_ASSET, f"there is no file {picture.file_name!r}")
        try:
            if (size := picture.path.stat().st_size) > LARGEST_FILE_BYTES:
                return reject(TOO_BIG, f"{size} bytes exceed the limit of {LARGEST_FILE_BYTES}")
            stored = storable_picture(picture.path.read_bytes())
            digest = sha256_of(picture.path)
        except UnreadableImageError as error:
            return reject(error.reason, str(error))
        except OSError as error:
            return reject(BAD_ASSET, f"{picture.file_name!r} cannot be read: {error.strerror}")
        return View(
            object=item,
            view_index=picture.view_index,
            image=stored.data,
            background=self._background,
            width=stored.width,
            height=stored.height,
            camera=None,
            foreground_fraction=None,
            asset_sha256=digest,
        )


def import_settings(config: Config) -> dict[str, Any]:
    """Return everything that decides what is stored of a picture."""
    return {"schema": SCHEMA_VERSION, "pictures": "as they are", "background": config.render.background}


def import_stage(config: Config, settings: str) -> Stage[SelectedObject, View]:
    return Stage(RENDER, settings, partial(_open_reader, config), workers=config.run.render_workers)


def _open_reader(config: Config) -> "nullcontext[PictureReader]":
    return nullcontext(PictureReader(config))
