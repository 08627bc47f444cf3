"""What the class ids of MVImgNet stand for, in words that a prompt can hold.

`names.csv` beside this file corrects names of the published list that are misspelt (`wahser`, `swin ring`) or
name something else in English than what the classes show (`shakyamuni` is the fruit, `badminton` the
shuttlecock). Each was reviewed; the other names are only made plain.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Final

from mvcap.class_names import clean_name, read_reviewed
from mvcap.errors import AssetFolderError

LISTS: Final = ("mvimgnet_category.txt", "mvimgnet2_category.json")
"""Of version 1, `id,name` lines; of version 2, a JSON object of ids and names."""


def class_names(root: Path, chosen: Path | None) -> dict[int, str]:
    """Read the published list of class names, and clean each name.

    Args:
        root: the dataset's folder; the list lies in it or beside it.
        chosen: the list, where it lies elsewhere.

    Raises:
        AssetFolderError: there is no list, or it cannot be read.
    """
    places = [chosen] if chosen else [folder / name for folder in (root, root.parent) for name in LISTS]
    found = [path.expanduser() for path in places if path.expanduser().is_file()]
    if not found:
        raise AssetFolderError(
            f"there is no {' or '.join(LISTS)} in {root} or beside it; get it from the dataset's own "
            "repository, or name it: options.names"
        )
    reviewed = read_reviewed((files(__package__) / "names.csv").read_text("utf-8"))
    return {
        number: clean_name(name, reviewed, lower=True)
        for path in reversed(found)
        for number, name in _read(path)
    }


def _read(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text("utf-8-sig")
        return _from_json(text) if path.suffix == ".json" else _from_lines(text)
    except (OSError, ValueError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise AssetFolderError(f"cannot read the class names in {path}: {error}") from error


def _from_lines(text: str) -> list[tuple[int, str]]:
    rows = [line.partition(",") for line in text.splitlines() if line.strip()]
    return [(int(number), name) for number, _, name in rows if name.strip()]


def _from_json(text: str) -> list[tuple[int, str]]:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object of ids and names")
    pairs = [(str(key), str(value)) for key, value in content.items()]
    return [(int(key), value) if key.strip().isdecimal() else (int(value), key) for key, value in pairs]
