"""The worker that takes pictures as they are, where a source gives pictures instead of 3D objects."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import PIL
from pydantic import BaseModel

from mvcap import plugins
from mvcap.commits import IMPORTER
from mvcap.config import Config, SourceConfig, producing_settings
from mvcap.errors import BAD_ASSET, Reason
from mvcap.pictures import FindPictures, Picture, UnusableInputError
from mvcap.records import Camera, Extras, Rejected, SelectedObject, View
from mvcap.schema import SCHEMA_VERSION
from pipelines.pictures import StoredPicture, judge_stored, mask_of, storable_picture
from render.image_checks import REASONS, Verdict

STAGE: Final = "import"
"""What failures say."""
SAME_SHAPE: Final = 0.01
"""Share by which a picture's aspect ratio may differ from its camera's: both are rounded to whole pixels."""


def gives_pictures(section: SourceConfig) -> bool:
    """Tell whether a source gives pictures, which are not rendered."""
    return hasattr(plugins.load("mvcap.sources", section.source), "open_pictures")


class PictureReader:
    """A `pipelines.stages.Worker` that reads the pictures of objects, whichever sources these are of."""

    made_by: Mapping[str, Any] = {"name": IMPORTER, "pillow": PIL.__version__}
    busy_s = None

    def __init__(self, config: Config) -> None:
        self._config = config
        self._opened: dict[int, FindPictures] = {}

    def __call__(self, records: Iterable[SelectedObject]) -> Iterator[View | Rejected]:
        for item in records:
            try:
                pictures = self._find(item)
                if not pictures:
                    raise UnusableInputError(BAD_ASSET, f"{item.record.source_id!r} has no picture")
            except UnusableInputError as error:
                yield Rejected(item.uid, STAGE, error.reason, str(error))
                continue
            for picture in pictures:
                yield import_picture(item, picture, background=self._config.render.background)

    def _find(self, item: SelectedObject) -> list[Picture]:
        index = section_of(self._config, item)
        if index not in self._opened:
            section = self._config.sources[index]
            source = plugins.load("mvcap.sources", section.source)
            self._opened[index] = source.open_pictures(section.options)
        return list(self._opened[index](item))


def section_of(config: Config, item: SelectedObject) -> int:
    """Return which of the configured sources an object is of; of two of one name, by where its asset lies.

    Raises:
        UnusableInputError: none of them; an earlier run had more.
    """
    named = [
        (index, section)
        for index, section in enumerate(config.sources)
        if section.source == item.record.source
    ]
    if len(named) == 1:
        return named[0][0]
    asset = Path(item.record.asset)
    for index, section in named:
        root = getattr(section.options, "path", None)
        if root is not None and asset.is_relative_to(Path(root).expanduser().absolute()):
            return index
    raise UnusableInputError(BAD_ASSET, f"no configured source {item.record.source} holds {asset}")


def import_picture(item: SelectedObject, picture: Picture, *, background: str) -> View | Rejected:
    """Read one picture, with what can be told of it, or say why it cannot be used.

    Args:
        background: `#rrggbb` behind pictures that are transparent.
    """
    try:
        if picture.content is None:
            raise UnusableInputError(BAD_ASSET, f"there is no file {picture.name!r}")
        data = picture.content.read()
        stored = storable_picture(data)
        verdict, foreground = judge_stored(stored.data) if picture.rendered else (None, None)
        _require_no_flaw(verdict)
        camera = fitted(picture.camera, stored, picture.name) if picture.camera else None
        mask = mask_of(picture.mask.read(), stored) if picture.mask else None
    except UnusableInputError as error:
        return Rejected(item.uid, STAGE, error.reason, str(error), picture.view_index)
    return View(
        object=item,
        view_index=picture.view_index,
        image=stored.data,
        background=background,
        width=stored.width,
        height=stored.height,
        camera=camera,
        foreground_fraction=mask.coverage if mask else foreground,
        asset_sha256=sha256(data).hexdigest(),
        flags=verdict.flags if verdict else None,
        extras=Extras(mask.png, None, None, None) if mask else None,
    )


def _require_no_flaw(verdict: Verdict | None) -> None:
    if verdict and verdict.flaw:
        reason: Reason = REASONS[verdict.flaw]
        raise UnusableInputError(reason, f"the picture is {verdict.flaw}")


def fitted(camera: Camera, stored: StoredPicture, name: str) -> Camera:
    """Scale a camera's intrinsics to the size that its picture really has.

    Raises:
        UnusableInputError: the picture has another shape, so that it cannot be what the camera saw.
    """
    across, down = stored.width / camera.width, stored.height / camera.height
    if abs(across / down - 1) > SAME_SHAPE:
        raise UnusableInputError(
            BAD_ASSET,
            f"{name!r} is {stored.width} x {stored.height}, its camera {camera.width} x {camera.height}",
        )
    return replace(
        camera,
        width=stored.width,
        height=stored.height,
        fx=camera.fx * across,
        fy=camera.fy * down,
        cx=camera.cx * across,
        cy=camera.cy * down,
    )


def import_settings(config: Config) -> dict[str, Any]:
    """Return everything that decides what is stored of pictures, the options of their sources included."""
    settings = {"schema": SCHEMA_VERSION, "pictures": "as they are", "background": config.render.background}
    seen: dict[str, int] = {}
    for section in filter(gives_pictures, config.sources):
        seen[section.source] = number = seen.get(section.source, 0) + 1
        prefix = section.source if number == 1 else f"{section.source}#{number}"
        source = plugins.load("mvcap.sources", section.source)
        if cameras := getattr(source, "CAMERAS", None):
            settings[f"{prefix}.cameras"] = cameras
        assert isinstance(section.options, BaseModel), "made by recipes.build_config"
        options = producing_settings(section.options)
        settings |= {f"{prefix}.{name}": value for name, value in options.items()}
    return settings
