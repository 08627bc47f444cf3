"""Names of classes for folders and tars that name them by numbers or wnids."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from mvcap.class_names import clean_name
from mvcap.errors import UsageError
from mvcap.imagenet_names import WNID, default_names


def class_names(labels: list[str], names: Path | None) -> dict[str, str]:
    """Map what a layout calls its classes to names that a prompt can hold.

    A file of names is JSON: `{label: name}`, a list by number, or torchvision's `{number: [wnid, name]}`; or
    lines of a label, a blank and a name. Without a file, wnids get open_clip's names, and other labels are
    cleaned: `Ferris_wheel` is a "Ferris wheel".

    Raises:
        UsageError: the file cannot be read, or lacks a label.
    """
    if names is None:
        known = default_names() if any(map(WNID.fullmatch, labels)) else {}
        return {label: known.get(label) or clean_name(label) or label for label in labels}
    table = read_label_map(names, labels)
    if missing := [label for label in labels if label not in table]:
        raise UsageError(f"{names} has no name for {len(missing)} classes, such as {missing[0]!r}")
    return {label: clean_name(table[label]) for label in labels}


def read_label_map(path: Path, labels: Collection[str]) -> dict[str, str]:
    """Read a file of names, in any of the formats above.

    Args:
        labels: what a layout calls its classes, which tells whether it means torchvision's numbers or wnids.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        text = path.expanduser().read_text("utf-8-sig")
        if path.suffix != ".json":
            pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
            return {label: name.split(",")[0].strip() for label, name in pairs}
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the class names in {path}: {error}") from error
    if isinstance(content, list):
        return {str(number): str(name) for number, name in enumerate(content)}
    if not isinstance(content, Mapping):
        raise UsageError(f"{path} must hold a list or a mapping of class names")
    plain = {str(label): str(name) for label, name in content.items() if not isinstance(name, list)}
    both = {str(label): name for label, name in content.items() if isinstance(name, list)}
    by_number = plain | {label: str(name[-1]) for label, name in both.items()}
    by_wnid = plain | {str(name[0]): str(name[-1]) for name in both.values()}
    return max(by_number, by_wnid, key=lambda found: len(found.keys() & {*labels}))
