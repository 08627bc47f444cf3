"""One picture of a dataset, made once more from what the dataset recorded."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from PIL import Image

from mvcap import files
from mvcap.commits import RENDER
from mvcap.config import Config, difference, settings_hash
from mvcap.errors import ConfigChangedError, MvcapError, UsageError, did_you_mean
from mvcap.places import Place
from mvcap.plan import Shard
from mvcap.records import Rejected, SelectedObject, View
from mvcap.rows import view_from_row
from mvcap.storage import Store
from pipelines.fetching import fetch_ahead, open_fetchers
from pipelines.rendering import open_renderer, stage_arguments
from pipelines.viewing import picture_sources, view_settings
from render.stage import render_objects

ADVICE = "The picture can be made only with the settings it was made with."


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A picture made anew, beside the stored one."""

    made: View
    stored: View

    @property
    def equal(self) -> bool:
        """Whether they are the same, byte for byte."""
        return self.made.image == self.stored.image

    def changes(self) -> Iterator[str]:
        """Say what was different from the first time, where that is known."""
        for name, column in (("the model file's sha256", "asset_sha256"), ("the renderer", "renderer")):
            then, now = getattr(self.stored, column), getattr(self.made, column)
            if then != now:
                yield f"{name} was {then} and is {now}"


def reproduce_view(config: Config, dataset: Place, uid: str, view_index: int) -> Reproduction:
    """Render one view of a finished or unfinished dataset again, in this process.

    Args:
        config: as the dataset recorded it; what does not change pictures may differ.

    Raises:
        UsageError: the dataset holds no such view.
        ConfigChangedError: its pictures were made with other settings, or other background pictures.
        MvcapError: the object cannot be rendered now.
    """
    store = Store(dataset)
    shard = _shard_of(store, uid)
    item = next(item for item in store.read_objects(shard) if item.uid == uid)
    if item.record.source in picture_sources(config):
        raise UsageError(f"the pictures of {uid} were not rendered, so none can be made again")
    _refuse_other_settings(store, shard, view_settings(config))
    stored = _stored_view(store, shard, item, view_index)
    present = fetch_ahead([item], open_fetchers(config), threads=1)
    with open_renderer(config) as renderer:
        [made] = render_objects(present, renderer, **stage_arguments(config), only_view=view_index)
    if isinstance(made, Rejected):
        raise MvcapError(f"view {view_index} of {uid} cannot be rendered: {made.reason}: {made.message}")
    return Reproduction(made, stored)


def _shard_of(store: Store, uid: str) -> Shard:
    shards = {planned: shard for shard in store.require_plan().shards for planned in shard.uids}
    if uid not in shards:
        raise UsageError(
            f"there is no object {uid!r} in {store.root}{did_you_mean(uid, list(shards))}; objects.parquet "
            "lists all uids"
        )
    return shards[uid]


def _refuse_other_settings(store: Store, shard: Shard, settings: Mapping[str, Any]) -> None:
    commit = store.find_commit(RENDER, shard)
    if commit is None:
        raise UsageError(f"shard {shard.index} of {store.root} is not rendered yet")
    if commit.settings != settings_hash(settings):
        changed = difference(store.settings(RENDER, commit.settings), settings)
        raise ConfigChangedError(RENDER, changed, ADVICE)


def _stored_view(store: Store, shard: Shard, item: SelectedObject, view_index: int) -> View:
    for table in store.read_view_rows(shard):
        chosen = pc.and_(pc.equal(table["uid"], item.uid), pc.equal(table["view_index"], view_index))
        for row in table.filter(chosen).to_pylist():
            return view_from_row(row, item)
    commit = store.read_commit(RENDER, shard.index)
    reasons = [
        f": {rejected.reason}: {rejected.message}"
        for rejected in (commit.rejected if commit else ())
        if rejected.uid == item.uid and rejected.view_index in (None, view_index)
    ]
    raise UsageError(f"{store.root} has no view {view_index} of {item.uid}{''.join(reasons[:1])}")


def save_picture(view: View, path: Path) -> None:
    """Write a view's picture: its very bytes, or the same pixels in the format that the suffix names.

    Raises:
        UsageError: Pillow writes no such format, or the file cannot be written.
    """
    try:
        files.write_bytes(path, picture_bytes(view.image, path.suffix))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def picture_bytes(image: bytes, suffix: str) -> bytes:
    """Return an encoded picture in the format of a file name's suffix, unchanged where it has that format.

    Raises:
        UsageError: Pillow writes no such format.
    """
    wanted = Image.registered_extensions().get(suffix.lower())
    if wanted not in Image.SAVE:
        raise UsageError(f"no pictures can be written as {suffix!r}; name a .png or .jpg file")
    with Image.open(io.BytesIO(image)) as picture:
        if picture.format == wanted:
            return image
        picture.save(converted := io.BytesIO(), wanted)
    return converted.getvalue()
