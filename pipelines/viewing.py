"""The first stage: an object's views are rendered, or imported where its source gives pictures.

Sources of both kinds may stand in one dataset; each worker then does either, object by object.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby
from types import TracebackType
from typing import Any, Self

from mvcap import plugins
from mvcap.commits import RENDER, StageName
from mvcap.config import Config
from mvcap.pictures import UnusableInputError
from mvcap.records import Rejected, SelectedObject, View
from pipelines.importing import STAGE as IMPORT
from pipelines.importing import PictureReader, gives_pictures, import_settings, section_of
from pipelines.renderer_versions import Versions
from pipelines.rendering import RenderWorker, render_settings, render_stage
from pipelines.stages import Resources, Stage


def imports(config: Config) -> bool:
    """Tell whether some of the configured sources give pictures."""
    return any(map(gives_pictures, config.sources))


def renders(config: Config) -> bool:
    """Tell whether some of the configured sources give 3D objects; none at all counts as one that does."""
    return not config.sources or not all(map(gives_pictures, config.sources))


def picture_sources(config: Config) -> frozenset[str]:
    """Return the names of the configured sources that give pictures."""
    return frozenset(section.source for section in config.sources if gives_pictures(section))


def view_settings(config: Config) -> dict[str, Any]:
    """Return everything that decides the pixels and rows of this stage.

    Raises:
        UsageError: the folder of backgrounds holds none, or one that is no picture.
    """
    rendered = render_settings(config) if renders(config) else {}
    return rendered | (import_settings(config) if imports(config) else {})


def view_stage(
    config: Config, settings: str, expected: Versions | None = None
) -> Stage[SelectedObject, View]:
    """Return the stage; `expected` are the versions that every renderer has to have."""
    if not renders(config):
        reader: Callable[[], AbstractContextManager[PictureReader]] = partial(_open_reader, config)
        resources = Resources().changed_by(config.run.render_resources)
        return Stage(RENDER, settings, reader, resources, config.run.render_workers)
    rendering = render_stage(config, settings, expected)
    return (
        replace(rendering, make_worker=partial(MixedWorker, config, expected))
        if imports(config)
        else rendering
    )


def stage_labels(config: Config) -> dict[StageName, str]:
    """Return what to call this stage on the screen, where not by its name."""
    if not imports(config):
        return {}
    return {RENDER: f"{RENDER}, {IMPORT}" if renders(config) else IMPORT}


def expected_views(config: Config) -> Callable[[SelectedObject], int]:
    """Return what tells how many views an object is to have, if all goes well: a guess for some sources."""
    counters = {
        index: plugins.load("mvcap.sources", section.source).expected_views(section.options)
        for index, section in enumerate(config.sources)
        if gives_pictures(section)
    }
    of_pictures = picture_sources(config)

    def count(item: SelectedObject) -> int:
        if item.record.source not in of_pictures:
            return config.render.views
        try:
            expected: int = counters[section_of(config, item)](item)
        except UnusableInputError:
            return 1  # it is going to be rejected
        return max(expected, 1)

    return count


class MixedWorker:
    """A `pipelines.stages.Worker` that renders or imports; a renderer starts with the first 3D object."""

    busy_s = None

    def __init__(self, config: Config, expected: Versions | None = None) -> None:
        self._config = config
        self._expected = expected
        self._of_pictures = picture_sources(config)
        self._reader = PictureReader(config)
        self._renderer: RenderWorker | None = None
        self._opened = ExitStack()
        self._used: set[bool] = set()

    @property
    def made_by(self) -> Mapping[str, Any]:
        """What made the records since the last call: it does not depend on what this worker did before."""
        imported = self._reader.made_by if True in self._used else {}
        if not (self._renderer and False in self._used):
            return imported
        versions = (str(value) for name, value in imported.items() if name != "name")
        return {**self._renderer.made_by, **({imported["name"]: " ".join(versions)} if imported else {})}

    def __call__(self, records: Iterable[SelectedObject]) -> Iterator[View | Rejected]:
        self._used = set()
        for pictures, items in groupby(records, key=lambda item: item.record.source in self._of_pictures):
            self._used.add(pictures)
            run = list(items)  # a renderer may look ahead: it gets its objects together
            yield from self._reader(run) if pictures else self._rendering()(run)

    def _rendering(self) -> RenderWorker:
        if self._renderer is None:
            self._renderer = self._opened.enter_context(RenderWorker(self._config, self._expected))
        return self._renderer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()


def _open_reader(config: Config) -> "nullcontext[PictureReader]":
    return nullcontext(PictureReader(config))
