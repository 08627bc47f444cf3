"""How many objects and views a recipe stands for: counted where the files are here, else as it expects."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from mvcap import plugins
from mvcap.config import Config, ExpectedCounts, SourceConfig
from mvcap.errors import MvcapError
from mvcap.pictures import FindPictures, UnusableInputError
from mvcap.records import SelectedObject
from mvcap.sources.objaverse import SOURCE

COUNTED: Literal["counted"] = "counted"
EXPECTED: Literal["expected"] = "expected"
UNKNOWN: Literal["unknown"] = "unknown"
SAMPLED_OBJECTS: Final = 20
SAMPLED_PICTURES: Final = 5
"""Of each of these, to tell how large a source's pictures are."""


@dataclass(frozen=True, slots=True)
class SourceCount:
    """What one source gives; None where that cannot be told."""

    source: str
    rendered: bool
    """Whether its objects are rendered; otherwise it gives pictures."""
    how: Literal["counted", "expected", "unknown"]
    objects: int | None = None
    views: int | None = None
    picture_bytes: float | None = None
    """Of all its pictures, where it gives pictures."""
    absent: int = 0
    """Counted objects whose model is not on this machine, such as those that are yet to be downloaded."""
    problem: str | None = None
    """Why it could not be counted."""


def count_source(section: SourceConfig, config: Config) -> SourceCount:
    """Count what a source lists on this machine; what the recipe expects counts where it lists nothing.

    Raises:
        UnknownNameError, MissingExtraError: there is no such source, or it cannot be loaded.
    """
    module = plugins.load("mvcap.sources", section.source)
    rendered = not hasattr(module, "open_pictures")
    if filter_chooses(section, config):
        return _expected(section, config, rendered, None)
    try:
        objects = [item for item in module.list_objects(section.options) if isinstance(item, SelectedObject)]
        problem = None if objects else "it lists no object"
    except MvcapError as error:
        objects, problem = [], str(error)
    if not objects:
        return _expected(section, config, rendered, problem)
    count = SourceCount(section.source, rendered, COUNTED, len(objects), len(objects) * config.render.views)
    if rendered:
        absent = sum(not Path(item.record.asset).exists() for item in objects)
        return replace(count, absent=absent)
    views = sum(map(module.expected_views(section.options), objects))
    each = _bytes_per_picture(module.open_pictures(section.options), objects)
    return replace(count, views=views, picture_bytes=None if each is None else views * each)


def filter_chooses(section: SourceConfig, config: Config) -> bool:
    """Tell whether a filter will choose a source's objects, so that listing it now counts others."""
    return config.filter is not None and config.filter.embeddings == "openshape" and section.source == SOURCE


def _expected(section: SourceConfig, config: Config, rendered: bool, problem: str | None) -> SourceCount:
    expected, keep = section.expected, config.filter.keep if config.filter else None
    if keep is not None and filter_chooses(section, config):
        expected = ExpectedCounts(objects=keep)
    if expected is None:
        return SourceCount(section.source, rendered, UNKNOWN, problem=problem)
    views = round(expected.objects * (expected.views_per_object or config.render.views))
    size = views * expected.bytes_per_view if expected.bytes_per_view else None
    return SourceCount(section.source, rendered, EXPECTED, expected.objects, views, size, problem=problem)


def _bytes_per_picture(find: FindPictures, objects: Sequence[SelectedObject]) -> float | None:
    """Average the sizes of the pictures of some objects, evenly chosen; None where none of them has any."""
    sizes = []
    for item in objects[:: -(-len(objects) // SAMPLED_OBJECTS)]:
        with suppress(UnusableInputError):
            contents = [picture.content for picture in find(item)[:SAMPLED_PICTURES] if picture.content]
            sizes += [len(content.read()) for content in contents]
    return sum(sizes) / len(sizes) if sizes else None
