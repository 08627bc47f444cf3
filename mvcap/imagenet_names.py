"""The names of the ImageNet-1K classes by their wnids.

They are those that open_clip prompts with (`IMAGENET_CLASSNAMES`), which tell the crane of a building site
from the bird. They stand in the order of the sorted wnids, which is what a `.cls` counts; the wnids
themselves come from timm, which open_clip needs. Two pairs of classes share a name: missile and sunglasses.
A file of `wnid name` lines, such as the `LOC_synset_mapping.txt` that comes with the pictures, may stand in
for both: of several names in a line the first counts.
"""

import re
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Final

from mvcap.class_names import clean_name
from mvcap.errors import AssetFolderError
from mvcap.plugins import missing_extra

WNID: Final = re.compile(r"n\d{8}")
REVIEWED: Final = {"kite (bird of prey)": "kite bird", "maillot": "maillot swimsuit"}
"""Names that mean something else, or nothing, to most readers."""


def read_names(path: Path) -> dict[str, str]:
    """Read `wnid name, another name` lines; blank ones are left out.

    Raises:
        AssetFolderError: the file cannot be read, or a line is something else.
    """
    try:
        lines = [line for line in path.expanduser().read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise AssetFolderError(f"cannot read the names in {path}: {error}") from error
    names = {}
    for line in lines:
        wnid, name = line[:9], line[9:].strip(" ,\t").split(",")[0]
        if not WNID.fullmatch(wnid) or not name.strip():
            raise AssetFolderError(f"{path}: {line!r} is no line of a wnid and a name")
        names[wnid] = clean_name(name, REVIEWED)
    return names


def default_names() -> dict[str, str]:
    """Return open_clip's names by wnid, read from its files without importing it: that takes seconds.

    Raises:
        MissingExtraError: open_clip or timm is not installed.
    """
    wnids = _package_folder("timm").joinpath("data", "_info", "imagenet_synsets.txt").read_text().split()
    spec = spec_from_file_location("_imagenet_names", _package_folder("open_clip") / "zero_shot_metadata.py")
    assert spec is not None
    assert spec.loader is not None
    metadata = module_from_spec(spec)
    spec.loader.exec_module(metadata)
    return {
        wnid: clean_name(name, REVIEWED)
        for wnid, name in zip(sorted(wnids), metadata.IMAGENET_CLASSNAMES, strict=True)
    }


def _package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("mvcap.imagenet_names", ModuleNotFoundError(name=name))
    return Path(next(iter(spec.submodule_search_locations)))
