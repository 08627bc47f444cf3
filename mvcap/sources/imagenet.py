"""ImageNet-1K, the clean half of training: each picture is an object of its own, to be captioned as it is.

A folder of `<wnid>/*.JPEG`, or of plain webdataset tars, whose samples have a picture (`.jpg`, `.jpeg`,
`.png`) and a `.cls` with the class's number, or else a key that begins with the wnid.

Names are those of `mvcap.imagenet_names`, whose order is what a `.cls` counts, or those of a file.

No captions come with it: they are our captioner's, guided by the name as all others.
"""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict

from mvcap.config import OPERATIONAL, AbsolutePath
from mvcap.errors import BAD_ASSET, AssetFolderError
from mvcap.imagenet_names import WNID, default_names, read_names
from mvcap.pictures import FileContent, FindPictures, Picture, UnusableInputError
from mvcap.plan import make_uid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._folders import is_utf8, readable_folder, subfolders
from mvcap.sources._listing import reject
from mvcap.sources._renders import file_names

SOURCE = "imagenet"
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
MOST_ENTRIES: Final = 1_000_000
"""Of one tar."""
LONGEST_LABEL: Final = 32
"""Bytes of a `.cls`."""
LICENSE: Final = "ImageNet terms of access"


class Options(BaseModel):
    """Options of the `imagenet` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[AbsolutePath, OPERATIONAL]
    """The folder that holds the wnids' folders, such as `ILSVRC/Data/CLS-LOC/train`, or the tars."""
    names: Annotated[AbsolutePath | None, OPERATIONAL] = None
    """A file of `wnid name` lines; open_clip's names where null."""
    license: Annotated[str, OPERATIONAL] = LICENSE


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List every picture, by wnid or tar, then by name; a class without a name is rejected as a whole.

    Raises:
        AssetFolderError: the folder, a tar or the file of names cannot be read.
        MissingExtraError: no file of names is given, and open_clip and timm are not installed.
    """
    root = readable_folder(options.path, "classes of ImageNet, or tars of them")
    names = read_names(options.names) if options.names else default_names()
    for wnid in filter(WNID.fullmatch, subfolders(root)):
        if wnid in names:
            yield from _of_folder(root / wnid, names[wnid], options.license)
        else:
            yield reject(SOURCE, wnid, f"there is no name for {wnid}")
    for path in sorted(root.glob("*.tar")):
        yield from _of_tar(path, names, options.license)


def _of_folder(folder: Path, category: str, license_name: str) -> Iterator[SelectedObject | Rejected]:
    for file in sorted(file_names(folder)):
        source_id = f"{folder.name}/{file}"
        if not is_utf8(file):
            message = f"the name {source_id!r} is not UTF-8"
            yield reject(SOURCE, source_id, message)
        elif PurePosixPath(file).suffix.lower() in SUFFIXES:
            yield _object(source_id, folder / file, category, license_name)


def _of_tar(path: Path, names: dict[str, str], license_name: str) -> Iterator[SelectedObject | Rejected]:
    wnids = sorted(names)
    for key, sample in _samples(path).items():
        source_id = f"{path.name}/{key}"
        category = names.get(_wnid(key, sample.label, wnids) or "")
        if category and sample.content:
            yield _object(source_id, path, category, license_name)
        else:
            message = f"{source_id!r} has no picture, or no class that is known"
            yield reject(SOURCE, source_id, message)


def open_pictures(options: Options) -> FindPictures:
    """Return what finds a picture; the contents of the latest tars are remembered."""
    samples = lru_cache(maxsize=4)(_samples)

    def find(item: SelectedObject) -> list[Picture]:
        path = Path(item.record.asset)
        if path.suffix != ".tar":
            return [Picture(0, path.name, FileContent(path))]
        try:
            sample = samples(path).get(item.record.source_id.partition("/")[2])
        except AssetFolderError as error:
            raise UnusableInputError(BAD_ASSET, str(error)) from error
        if sample is None or sample.content is None:
            raise UnusableInputError(BAD_ASSET, f"{item.record.source_id!r} is no longer there")
        return [Picture(0, item.record.name, sample.content)]

    return find


def expected_views(options: Options) -> Callable[[SelectedObject], int]:
    """Return what says that each picture is one view."""
    return lambda _: 1


@dataclass(slots=True)
class _Sample:
    """What a tar holds of one picture, gathered from its entries."""

    content: FileContent | None = None
    label: int | None = None


def _samples(path: Path) -> dict[str, _Sample]:
    """Map the keys of a plain tar to where their pictures lie in it; no name becomes a path.

    Raises:
        AssetFolderError: it is damaged or compressed, or has too many entries.
    """
    samples: dict[str, _Sample] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for count, entry in enumerate(archive):
                if count >= MOST_ENTRIES:
                    raise AssetFolderError(f"{path} has more than {MOST_ENTRIES} entries; split it")
                _gather(samples, archive, entry, path)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise AssetFolderError(f"cannot read {path}: {error}") from error
    return samples


def _gather(
    samples: dict[str, _Sample], archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path
) -> None:
    """Note what an entry tells of its sample; links and further files tell nothing."""
    key, suffix = _split(entry.name)
    if not entry.isreg() or not key.isprintable():
        return
    if suffix in SUFFIXES:
        samples.setdefault(key, _Sample()).content = FileContent(path, entry.offset_data, entry.size)
    elif suffix == ".cls" and entry.size <= LONGEST_LABEL and (file := archive.extractfile(entry)):
        text = file.read().strip()
        samples.setdefault(key, _Sample()).label = int(text) if text.isdigit() else None


def _split(name: str) -> tuple[str, str]:
    """Split an entry's name at the first dot of its last part, as webdataset does."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return folder + slash + stem, (dot + suffix).lower()


def _wnid(key: str, label: int | None, wnids: list[str]) -> str | None:
    """Return a sample's class: by its number among all 1000, or by its key."""
    if label is not None:
        return wnids[label] if len(wnids) == 1000 and 0 <= label < 1000 else None
    found = WNID.match(key.rpartition("/")[2])
    return found[0] if found else None


def _object(source_id: str, asset: Path, category: str, license_name: str) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, source_id),
        source=SOURCE,
        source_id=source_id,
        name=PurePosixPath(source_id).stem,
        asset=str(asset),
        license=license_name,
        creator=None,
        source_url="https://www.image-net.org",
    )
    return SelectedObject(record, category)
