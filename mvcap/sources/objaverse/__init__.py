"""Objaverse 1.0: 798,759 objects of Sketchfab, on the annotations and the cache of the `objaverse` library.

What an object is comes from a file that `mvcap filter` wrote (`selection`), else from the LVIS lists, which
hold 46,000 of them; the names and categories of Sketchfab are not used, because they mislead. Without a
selection the other objects are left out, and one that `uids` names all the same is rejected as
`no_category`.

Listing reads the annotations and nothing else. Models are fetched where they are rendered.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mvcap.categories import has_word
from mvcap.config import OPERATIONAL
from mvcap.downloads import HubDataset, require_room
from mvcap.errors import NO_CATEGORY, FetchError, HubUnreachableError, did_you_mean
from mvcap.plan import make_uid
from mvcap.records import ObjectRecord, Rejected, SelectedObject
from mvcap.sources._listing import reject
from mvcap.sources.objaverse.annotations import LICENSES, Annotation, Wanted, read_annotation
from mvcap.sources.objaverse.cache import OBJECT_PATHS, Cache, shard_of
from mvcap.sources.objaverse.choice import (
    Choice,
    lvis_choices,
    read_uids,
    restrict,
    selection_choices,
)

SOURCE = "objaverse"


class Options(BaseModel):
    """Options of the `objaverse` source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Annotated[Path | None, OPERATIONAL] = None
    """The cache; `~/.objaverse/hf-objaverse-v1`, the library's own, where null."""
    download: Annotated[bool, OPERATIONAL] = True
    """Fetch what the cache lacks; otherwise objects that it lacks are rejected."""
    dataset: str = "allenai/objaverse"
    """On the hub."""
    revision: str = "main"
    selection: Path | None = None
    """A Parquet file of `mvcap filter`: these objects, as what it chose them for."""
    lvis_only: bool = False
    """Only objects of the LVIS lists; without a selection there are no others."""
    uids: tuple[str, ...] | None = None
    """Only these objects."""
    uids_file: Path | None = None
    """Only the objects of this list, one uid a line."""
    licenses: tuple[str, ...] | None = None
    """Only these, in Objaverse's words: by, by-nc, by-nc-sa, by-sa, cc0."""
    min_faces: int | None = Field(None, ge=0)
    max_faces: int | None = Field(None, ge=0)
    max_bytes: int | None = Field(None, ge=0)
    """Of the model file."""
    animated: bool | None = None
    """Only animated objects, or only others."""
    age_restricted: bool = False
    """Take what Sketchfab restricts by age as well."""
    tags: tuple[str, ...] | None = None
    """Only objects that have one of these tags, in whatever case."""

    @field_validator("licenses")
    @classmethod
    def _know_licenses(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if name not in LICENSES:
                nearest = did_you_mean(name, list(LICENSES))
                raise ValueError(f"unknown licence {name!r}{nearest} (valid: {', '.join(LICENSES)})")
        return names


def list_objects(options: Options) -> Iterator[SelectedObject | Rejected]:
    """List the wanted objects, folder by folder; what a filter excludes is left out.

    Rejected are objects that a selection, a list of uids or LVIS names and Objaverse does not hold
    (`bad_asset`), and those that nothing, or more than one category, tells the nature of (`no_category`).
    Of the annotations only the needed files are read, one at a time.

    Raises:
        AssetFolderError: the cache, the selection or the list of uids cannot be read.
        FetchError: the hub refuses a file that is needed.
        HubUnreachableError: it does not answer.
    """
    cache = _open_cache(options)
    choices = _choices(options, cache)
    paths = cache.object_paths() if choices else {}
    members: dict[str, list[str]] = defaultdict(list)
    for uid in sorted(choices):
        if (shard := shard_of(paths.get(uid, ""))) is None:
            yield reject(SOURCE, uid, f"Objaverse holds no object {uid!r}")
        elif flaw := _flaw(choices[uid]):
            yield reject(SOURCE, uid, flaw, reason=NO_CATEGORY)
        else:
            members[shard].append(uid)
    cache.fetch_annotations(members)
    wanted = _wanted(options)
    for shard in sorted(members):
        annotations = cache.annotations(shard)
        for uid in members[shard]:
            if uid not in annotations:
                yield reject(SOURCE, uid, f"metadata/{shard}.json.gz has no annotation of {uid!r}")
            elif wanted.includes(annotation := read_annotation(annotations[uid])):
                yield _object(uid, choices[uid], annotation, cache.root / paths[uid])


def read_names(options: Options, uids: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each uid that has an annotation, with the object's name, its tags and its categories.

    Raises:
        MvcapError: as `list_objects`.
    """
    cache = _open_cache(options)
    paths = cache.object_paths()
    members: dict[str, list[str]] = defaultdict(list)
    for uid in uids:
        if shard := shard_of(paths.get(uid, "")):
            members[shard].append(uid)
    cache.fetch_annotations(members)
    for shard, held in sorted(members.items()):
        annotations = cache.annotations(shard)
        for uid in held:
            if uid in annotations:
                found = read_annotation(annotations[uid])
                yield uid, (found.name, *found.tags, *found.categories)


def lvis_labels(options: Options) -> list[str]:
    """List the LVIS categories, in the words of the list.

    Raises:
        MvcapError: it can neither be read nor fetched.
    """
    return sorted(_open_cache(options).lvis())


class Fetcher:
    """Fetches models from the hub into the cache; see `pipelines.fetching.Fetcher`."""

    def __init__(self, options: Options) -> None:
        self._dataset = _open_cache(options).dataset

    def check(self, missing: Sequence[SelectedObject]) -> None:
        """Make sure that there is room for models that are not there, and that the hub lets us in.

        Raises:
            DiskFullError: by the sizes that the annotations tell.
            FetchError: the hub refuses the dataset.
            HubUnreachableError: it does not answer.
        """
        if missing and self._dataset:
            wanted_bytes = sum(item.record.asset_bytes or 0 for item in missing)
            root = Path(missing[0].record.asset).parents[2]
            require_room(root, wanted_bytes, f"fetching {len(missing)} objects of Objaverse")
            self._dataset.metadata(OBJECT_PATHS)

    def fetch(self, item: SelectedObject) -> None:
        """Put an object's model where its record says it is.

        Raises:
            FetchError: it cannot be had, and the others may.
            HubUnreachableError: the hub does not answer any more.
            DiskFullError: there is no room for it.
        """
        target = Path(item.record.asset)
        if self._dataset is None:
            raise FetchError(f"{target} does not exist, and download is false")
        path = target.relative_to(target.parents[2]).as_posix()
        try:
            self._dataset.fetch(path, target)
        except HubUnreachableError as error:
            self._dataset.metadata(OBJECT_PATHS)  # raises the same where it is the hub and not this object
            raise FetchError(str(error)) from error


def open_fetcher(options: Options) -> Fetcher:
    """Return what fetches the models of listed objects."""
    return Fetcher(options)


def _open_cache(options: Options) -> Cache:
    root = (options.path or Path("~/.objaverse/hf-objaverse-v1")).expanduser().absolute()
    return Cache(root, HubDataset(options.dataset, options.revision) if options.download else None)


def _choices(options: Options, cache: Cache) -> dict[str, Choice]:
    uids = None
    if options.uids is not None or options.uids_file is not None:
        listed = read_uids(options.uids_file) if options.uids_file else []
        uids = [*(options.uids or ()), *listed]
    if options.selection is None:
        return restrict(lvis_choices(cache.lvis()), uids)
    selected = selection_choices(options.selection)
    if options.lvis_only:
        in_lvis = {uid for held in cache.lvis().values() for uid in held}
        selected = {uid: choice for uid, choice in selected.items() if uid in in_lvis}
    return restrict(selected, None if uids is None else [uid for uid in uids if uid in selected])


def _wanted(options: Options) -> Wanted:
    return Wanted(
        licenses=None if options.licenses is None else frozenset(options.licenses),
        min_faces=options.min_faces,
        max_faces=options.max_faces,
        max_bytes=options.max_bytes,
        animated=options.animated,
        age_restricted=options.age_restricted,
        tags=None if options.tags is None else frozenset(tag.lower() for tag in options.tags),
    )


def _flaw(choice: Choice) -> str | None:
    """Say why an object has not exactly one category, if it has not."""
    if len(choice.categories) == 1:
        (category,) = choice.categories
        return None if has_word(category) else f"the category {category!r} holds no word"
    if not choice.categories:
        return "it is not in the LVIS lists; `mvcap filter` finds categories for other objects"
    return f"the LVIS lists name {len(choice.categories)} categories: {', '.join(choice.categories)}"


def _object(uid: str, choice: Choice, annotation: Annotation, asset: Path) -> SelectedObject:
    record = ObjectRecord(
        uid=make_uid(SOURCE, uid),
        source=SOURCE,
        source_id=uid,
        name=annotation.name or uid,
        asset=str(asset),
        license=LICENSES.get(annotation.license or "", annotation.license),
        creator=annotation.creator,
        source_url=annotation.url,
        asset_bytes=annotation.glb_bytes,
    )
    return SelectedObject(record, choice.categories[0], choice.similarity)
