"""Any folder of 3D models, with an optional `labels.csv`.

`labels.csv` has the columns `path,category,license,creator,source_url`; all but `path` may be empty or
missing. Without a label, a model's category is the name of its sub-folder, or else its file's name.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mvcap.categories import has_word
from mvcap.errors import AssetFolderError, did_you_mean
from mvcap.plan import make_uid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._folders import is_utf8, readable_folder, walk_files
from mvcap.sources._listing import reject

SOURCE = "folder"
SUFFIXES = frozenset({".glb", ".gltf", ".obj", ".fbx", ".stl", ".ply", ".usd", ".usda", ".usdc", ".usdz"})
LABEL_COLUMNS = frozenset({"path", "category", "license", "creator", "source_url"})


class Options(BaseModel):
    """Options of the `folder` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    labels: Path | None = None
    """A CSV file; `labels.csv` inside the folder where null."""
    license: str | None = None
    """Licence of every model that has none of its own in the labels."""


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List every model below the folder, in the order of their paths.

    A path that only the labels name is rejected as `bad_asset`, and one that is not UTF-8, which no
    table could hold.

    Raises:
        AssetFolderError: the folder or its labels cannot be read, or the labels contradict themselves.
    """
    root = readable_folder(options.path, "3D models")
    labels = _read_labels(options.labels or root / "labels.csv", required=options.labels is not None)
    models = {path.relative_to(root).as_posix(): path for path in walk_files(root, SUFFIXES)}
    for relative, path in sorted(models.items()):
        category = labels.get(relative, {}).get("category") or _category_of(relative)
        if not is_utf8(path):
            yield reject(SOURCE, relative, f"the path {relative!r} is not UTF-8; rename it")
        elif not path.is_file():
            yield reject(SOURCE, relative, f"{relative!r} is not a regular file")
        elif not has_word(category):
            yield reject(SOURCE, relative, f"the category {category!r} holds no word; name one in labels.csv")
        else:
            yield _object(relative, path, category, labels.get(relative, {}), options.license)
    for relative in sorted(labels.keys() - models.keys()):
        yield reject(SOURCE, relative, f"the labels name {relative!r}, which is not a model file in {root}")


def _object(
    relative: str, path: Path, category: str, label: dict[str, str], license_of_all: str | None
) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, relative),
        source=SOURCE,
        source_id=relative,
        name=path.stem,
        asset=str(path),
        license=label.get("license") or license_of_all,
        creator=label.get("creator") or None,
        source_url=label.get("source_url") or None,
    )
    return SelectedObject(record, category)


def _category_of(relative: str) -> str:
    """Guess a category: `chairs/old_chair-01.glb` is "chairs", `old_chair-01.glb` is "old chair"."""
    path = Path(relative)
    name = path.parent.name or re.sub(r"\d+$", "", path.stem)
    return re.sub(r"[\W_]+", " ", name).strip().lower() or path.stem


def _read_labels(path: Path, *, required: bool) -> dict[str, dict[str, str]]:
    if not path.is_file():
        if required:
            raise AssetFolderError(f"there is no label file {path}")
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _labels_by_path(csv.DictReader(file), path)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise AssetFolderError(f"cannot read the labels {path}: {error}") from error


def _labels_by_path(reader: "csv.DictReader[str]", path: Path) -> dict[str, dict[str, str]]:
    columns = list(reader.fieldnames or ())
    valid = f"(valid: {', '.join(sorted(LABEL_COLUMNS))}; all but path optional)"
    for column in columns:
        if column not in LABEL_COLUMNS:
            nearest = did_you_mean(column, sorted(LABEL_COLUMNS))
            raise AssetFolderError(f"{path} has an unknown column {column!r}{nearest} {valid}")
    if "path" not in columns:
        raise AssetFolderError(f"{path} has no column 'path' {valid}")
    labels: dict[str, dict[str, str]] = {}
    for row in reader:
        if any(row.pop(None, ())):
            raise AssetFolderError(f"{path}, line {reader.line_num}: more cells than columns; quote commas")
        label = {name: (value or "").strip() for name, value in row.items()}
        if not label["path"]:
            continue
        label["path"] = relative = Path(label["path"]).as_posix()
        if labels.setdefault(relative, label) != label:
            raise AssetFolderError(f"{path} labels {relative!r} twice: {labels[relative]} and {label}")
    return labels
