"""Sweet Home 3D furniture libraries (`.sh3f`): real, licensed objects that any Debian or Ubuntu can fetch.

`labels.csv` beside this file maps model ids to categories. Every row was chosen by looking at the
model's picture, because the catalogues' own names mislead; `demo` marks the objects of the demo.
"""

import csv
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mvcap.errors import AssetFolderError
from mvcap.files import cache_folder
from mvcap.plan import make_uid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._listing import reject
from mvcap.sources.sh3f.catalog import Furniture, read_catalog
from mvcap.sources.sh3f.unpack import unpack_library

SOURCE = "sh3f"
FRONT_AZIMUTH_DEG = 270.0
"""The catalogue's viewer stands on the model's +z side, which is -Y once the model stands upright."""


class Options(BaseModel):
    """Options of the `sh3f` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path | None = None
    """A folder of `.sh3f` files; where `make setup` put them if null."""
    selection: Literal["demo", "labelled", "all"] = "labelled"
    """The demo's objects, every object with a reviewed category, or every model there is: the catalogue's
    name, which nobody has reviewed, is then the category of those without one."""


def default_library() -> Path:
    """Return the folder into which the libraries are fetched."""
    return cache_folder() / "sh3f" / "libraries"


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List the chosen furniture; an id that no library holds is rejected as `bad_asset`.

    Raises:
        AssetFolderError: there are no libraries, or one of them is damaged.
    """
    labels = read_labels(demo_only=options.selection == "demo")
    listed = set()
    for furniture in _furniture(options.path):
        category = labels.get(furniture.id) or (
            _plain_name(furniture) if options.selection == "all" else None
        )
        if category and furniture.id not in listed:
            listed.add(furniture.id)
            yield _object(furniture, category)
    for source_id in [source_id for source_id in labels if source_id not in listed]:
        message = "none of the furniture libraries holds this model"
        yield reject(SOURCE, source_id, message)


def _furniture(path: Path | None) -> Iterator[Furniture]:
    for library in _libraries(path):
        yield from read_catalog(unpack_library(library, cache_folder() / "sh3f" / "unpacked"))


def _plain_name(furniture: Furniture) -> str:
    """Return a catalogue's name in plain words: `Chair 12` is a chair; its id where none are left."""
    words = re.sub(r"[\W\d_]+", " ", furniture.name).strip().lower()
    return words or furniture.id


def read_labels(*, demo_only: bool = False) -> dict[str, str]:
    """Read the reviewed table: model id to category."""
    text = (files(__package__) / "labels.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["id"]: row["category"] for row in rows if row["demo"] == "1" or not demo_only}


def _libraries(path: Path | None) -> list[Path]:
    folder = path or default_library()
    found = [folder] if folder.is_file() else sorted(folder.glob("*.sh3f"))
    if not found:
        raise AssetFolderError(
            f"there is no .sh3f furniture library in {folder}.\n"
            "Fetch the demo's objects with `python -m mvcap.sources.sh3f.fetch` (needs apt, but not root),\n"
            "or use your own models: --models FOLDER."
        )
    return found


def _object(furniture: Furniture, category: str) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, furniture.id),
        source=SOURCE,
        source_id=furniture.id,
        name=furniture.name,
        asset=str(furniture.model),
        license=furniture.license,
        creator=furniture.creator,
        source_url=furniture.url,
        rotation=furniture.rotation,
        front_azimuth_deg=FRONT_AZIMUTH_DEG,
    )
    return SelectedObject(record, category)
